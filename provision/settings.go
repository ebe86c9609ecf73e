package provision

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/mod/semver"
)

// Settings is everything that shapes a node and is not secret. It is part of a cluster's record and of a template's key.
type Settings struct {
	NodeName string `json:"nodeName"`
	NodeIP   string `json:"nodeIP"` // the machine's own address, where the API server and the kubelet are reached in it
	HostIP   string `json:"hostIP"` // this computer as seen from the machine: host.dory.internal

	KubernetesVersion string            `json:"kubernetesVersion"` // "v1.37.2"
	Images            map[string]string `json:"images"`            // of the bundle: "coredns" -> full reference

	APIServerPort  int      `json:"apiServerPort"` // in the machine
	APIServerNames []string `json:"apiServerNames,omitempty"`
	APIServerIPs   []string `json:"apiServerIPs,omitempty"`

	PodCIDR     string `json:"podCIDR"`
	ServiceCIDR string `json:"serviceCIDR"`
	DNSDomain   string `json:"dnsDomain"`

	ExtraConfig  []string `json:"extraConfig,omitempty"`  // "component.flag=value"
	FeatureGates string   `json:"featureGates,omitempty"` // "A=true,B=false", for every component
	Addons       []string `json:"addons,omitempty"`

	Ephemeral bool `json:"ephemeral,omitempty"` // etcd need not sync

	// Borrowed: the machine is somebody's own, and will be as it was when the node is removed.
	Borrowed bool `json:"borrowed,omitempty"`
}

// Components that --extra-config can name, as minikube names them.
var Components = []string{"apiserver", "controller-manager", "scheduler", "kubelet", "kube-proxy", "etcd"}

// Addons that can be switched on.
var Addons = []string{"metrics-server"}

// Always there, and accepted as names of addons because minikube lists them as such.
var builtinAddons = []string{"default-storageclass", "storage-provisioner", "coredns"}

// Validate says what is wrong with the settings that a user chose.
func (s Settings) Validate() error {
	for _, entry := range s.ExtraConfig {
		if _, _, _, err := splitExtra(entry); err != nil {
			return err
		}
	}
	if _, err := parseGates(s.FeatureGates); err != nil {
		return err
	}
	for _, name := range s.Addons {
		if !slices.Contains(Addons, name) && !slices.Contains(builtinAddons, name) {
			return fmt.Errorf("there is no addon %q; there are %s", name, strings.Join(Addons, ", "))
		}
	}
	for _, cidr := range []string{s.PodCIDR, s.ServiceCIDR} {
		if _, err := netip.ParsePrefix(cidr); err != nil {
			return fmt.Errorf("%q is not a CIDR: %w", cidr, err)
		}
	}
	return nil
}

// Digest names the settings: equal settings, equal digest.
func (s Settings) Digest() string {
	text, err := json.Marshal(s)
	if err != nil {
		panic(err) // strings, numbers and maps of strings always marshal
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

func splitExtra(entry string) (component, flag, value string, err error) {
	name, value, ok := strings.Cut(entry, "=")
	component, flag, dot := strings.Cut(name, ".")
	if component == "proxy" { // as minikube's documentation has it
		component = "kube-proxy"
	}
	if !ok || !dot || flag == "" {
		return "", "", "", fmt.Errorf("%q is not of the form component.flag=value", entry)
	}
	if component == "kubeadm" {
		return "", "", "", fmt.Errorf("%q: dory sets Kubernetes up without kubeadm; what it would pass on is said to the component (%s), and --service-cluster-ip-range and --dns-domain are flags of their own",
			entry, strings.Join(Components, ", "))
	}
	if !slices.Contains(Components, component) {
		return "", "", "", fmt.Errorf("%q names no component; there are %s", entry, strings.Join(Components, ", "))
	}
	if !flagPattern.MatchString(flag) {
		return "", "", "", fmt.Errorf("%q: %q is no name of a flag", entry, flag)
	}
	if !utf8.ValidString(value) || strings.ContainsFunc(value, unicode.IsControl) || strings.Contains(value, `\`) {
		return "", "", "", fmt.Errorf("%q has a line break, another control character or a backslash in it", entry)
	}
	return component, flag, value, nil
}

// Names become part of units and YAML, in which other characters would mean something.
var (
	flagPattern = regexp.MustCompile(`^[A-Za-z0-9][-A-Za-z0-9]*$`)
	gatePattern = regexp.MustCompile(`^[A-Za-z0-9]+$`)
)

func parseGates(text string) (map[string]bool, error) {
	gates := map[string]bool{}
	for entry := range strings.SplitSeq(text, ",") {
		if entry = strings.TrimSpace(entry); entry == "" {
			continue
		}
		name, value, _ := strings.Cut(entry, "=")
		name = strings.TrimSpace(name)
		on, err := strconv.ParseBool(strings.TrimSpace(value))
		if err != nil || !gatePattern.MatchString(name) {
			return nil, fmt.Errorf("%q is not of the form Gate=true or Gate=false", entry)
		}
		gates[name] = on
	}
	return gates, nil
}

// The methods below are what the templates of files and manifests call.

// Extra returns the component's extra flags, "--flag=value", quoted for a systemd unit.
func (s Settings) Extra(component string) []string {
	var flags []string
	for _, entry := range s.ExtraConfig {
		if c, flag, value, err := splitExtra(entry); err == nil && c == component {
			flags = append(flags, quoteUnit("--"+flag+"="+value))
		}
	}
	return flags
}

// quoteUnit writes a word as systemd.service(5) wants it on a command line: % and $ doubled, the whole in quotes.
func quoteUnit(word string) string {
	word = strings.NewReplacer("%", "%%", "$", "$$", `"`, `\"`).Replace(word)
	return `"` + word + `"`
}

// FeatureGateMap is FeatureGates for a configuration file.
func (s Settings) FeatureGateMap() map[string]bool {
	gates, _ := parseGates(s.FeatureGates)
	return gates
}

// Gates is FeatureGates for a flag.
func (s Settings) Gates() string {
	gates := s.FeatureGateMap()
	words := make([]string, 0, len(gates))
	for _, name := range slices.Sorted(maps.Keys(gates)) {
		words = append(words, fmt.Sprintf("%s=%t", name, gates[name]))
	}
	return strings.Join(words, ",")
}

// localhostGate is what makes kube-proxy serve NodePorts at the node's localhost; since Kubernetes v1.37.
const localhostGate = "KubeProxyNFTablesLocalhostNodePorts"

// ServesLocalhost says whether NodePorts are to answer at the node's localhost too.
func (s Settings) ServesLocalhost() bool { return s.ProxyGates()[localhostGate] }

// ProxyGates is FeatureGateMap with what kube-proxy needs beside, which a user can switch off.
func (s Settings) ProxyGates() map[string]bool {
	gates := s.FeatureGateMap()
	if _, chosen := gates[localhostGate]; !chosen && semver.Compare(s.KubernetesVersion, "v1.37") >= 0 {
		gates[localhostGate] = true
	}
	return gates
}

// Image returns the reference of one of the bundle's images.
func (s Settings) Image(name string) (string, error) {
	if ref, ok := s.Images[name]; ok {
		return ref, nil
	}
	return "", fmt.Errorf("the bundle has no image %q", name)
}

// NodePodCIDR is the part of PodCIDR that this node's pods are in: the first /24, which the controller manager gives to
// the first node.
func (s Settings) NodePodCIDR() string {
	prefix := netip.MustParsePrefix(s.PodCIDR)
	return netip.PrefixFrom(prefix.Masked().Addr(), max(prefix.Bits(), 24)).String()
}

// DNSServiceIP is the tenth address of the service range, where kubeadm has it too.
func (s Settings) DNSServiceIP() string { return nth(s.ServiceCIDR, 10) }

// KubernetesServiceIP is the first address of the service range: the Service kubernetes.default.
func (s Settings) KubernetesServiceIP() string { return nth(s.ServiceCIDR, 1) }

func nth(cidr string, n int) string {
	addr := netip.MustParsePrefix(cidr).Masked().Addr()
	for range n {
		addr = addr.Next()
	}
	return addr.String()
}
