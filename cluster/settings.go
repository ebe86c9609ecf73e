package cluster

import (
	"encoding"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/dorykube/dory/drivers/registry"
	"github.com/dorykube/dory/internal/fail"
	"github.com/dorykube/dory/internal/nearest"
	"github.com/dorykube/dory/internal/size"
)

// Change says what it takes to change a setting of a cluster that exists.
type Change int

const (
	Never     Change = iota // the cluster must be made anew
	AtBoot                  // the machine gets it when it boots
	Grow                    // more of it is possible, while the machine runs; less is not
	Upgrade                 // a newer one is possible, for which the machine boots; an older one is not
	Provision               // the node is provisioned again, while it runs
	PerRun                  // no part of the cluster
)

// Setting is a flag of 'dory start', a variable of the environment, and a key of the configuration file.
type Setting struct {
	Key    string // "disk-size"
	Usage  string // for people
	Change Change
	field  func(*Wanted) any // pointer into Wanted
}

// Wanted is a spec, the options of a run, and where each value came from.
type Wanted struct {
	Spec    Spec
	Options Options
	// Sources has an entry for each value that is not a default.
	Sources map[string]Source
}

// Source is where a value came from.
type Source struct {
	Kind  SourceKind
	Where string // "--cpus", "DORY_CPUS", "/home/me/dory.yaml"
}

// SourceKind orders the layers: later ones win.
type SourceKind int

const (
	FromDefault SourceKind = iota
	FromUserConfig
	FromFile
	FromEnvironment
	FromFlag
)

// Settings are all there are, in the order in which they are shown.
var Settings = []Setting{
	{"driver", "what makes the machine: auto, qemu, libvirt or ssh", Never, func(w *Wanted) any { return &w.Spec.Driver }},
	{"cpus", "CPUs of the machine, or max", AtBoot, func(w *Wanted) any { return &w.Spec.CPUs }},
	{"memory", "memory of the machine: 4g, 4096mb, ..., or max", AtBoot, func(w *Wanted) any { return &w.Spec.Memory }},
	{"disk-size", "largest size of the machine's disk", Grow, func(w *Wanted) any { return &w.Spec.DiskSize }},
	{"accel", "accelerator: auto, kvm, hvf, whpx or tcg", AtBoot, func(w *Wanted) any { return &w.Spec.Accel }},
	{"cpu-model", "processor model, as QEMU's -cpu takes it: auto (the best that boots), qemu64, ...", AtBoot, func(w *Wanted) any { return &w.Spec.CPUModel }},
	{"nodes", "number of nodes", Never, func(w *Wanted) any { return &w.Spec.Nodes }},
	{"kubernetes-version", "version of Kubernetes: " + strings.Join(Versions, ", "), Upgrade, func(w *Wanted) any { return &w.Spec.KubernetesVersion }},
	{"apiserver-port", "port of the API server, in the machine and on 127.0.0.1; 0 takes a free one", Never, func(w *Wanted) any { return &w.Spec.APIServerPort }},
	{"apiserver-names", "further names in the API server's certificate", Provision, func(w *Wanted) any { return &w.Spec.APIServerNames }},
	{"apiserver-ips", "further addresses in the API server's certificate", Provision, func(w *Wanted) any { return &w.Spec.APIServerIPs }},
	{"service-cluster-ip-range", "addresses of Services", Never, func(w *Wanted) any { return &w.Spec.ServiceCIDR }},
	{"dns-domain", "DNS domain of the cluster", Never, func(w *Wanted) any { return &w.Spec.DNSDomain }},
	{"extra-config", "flag of a component: component.flag=value", Provision, func(w *Wanted) any { return &w.Spec.ExtraConfig }},
	{"feature-gates", "feature gates: Gate=true,Gate=false", Provision, func(w *Wanted) any { return &w.Spec.FeatureGates }},
	{"addons", "addons to switch on: metrics-server", Provision, func(w *Wanted) any { return &w.Spec.Addons }},
	{"kvm-qemu-uri", "driver libvirt: whose, as virsh(1) is told: qemu:///system, qemu:///session, qemu+ssh://USER@HOST/system", Never, func(w *Wanted) any { return &w.Spec.LibvirtURI }},
	{"ssh-ip-address", "driver ssh: name or address of the machine", Never, func(w *Wanted) any { return &w.Spec.RemoteSpec.Address }},
	{"ssh-port", "driver ssh: port of the machine's SSH server", Never, func(w *Wanted) any { return &w.Spec.RemoteSpec.Port }},
	{"ssh-user", "driver ssh: root, or who becomes root by sudo without a password", Never, func(w *Wanted) any { return &w.Spec.RemoteSpec.User }},
	{"ssh-key", "driver ssh: private key file; without it the agent's keys and the usual files", Never, func(w *Wanted) any { return &w.Spec.RemoteSpec.Key }},
	{"ssh-jump", "driver ssh: machine on the way there, [user@]host[:port]", Never, func(w *Wanted) any { return &w.Spec.RemoteSpec.Jump }},
	{"ephemeral", "faster, but what the guest writes may be lost when this computer fails", AtBoot, func(w *Wanted) any { return &w.Spec.Ephemeral }},

	{"wait", "what to wait for: all, none, or a list of apiserver, system_pods, default_sa, apps_running, node_ready, kubelet", PerRun, func(w *Wanted) any { return &w.Options.Wait }},
	{"wait-timeout", "how long to wait for the machine, and for Kubernetes; up to three times as long as its objects move", PerRun, func(w *Wanted) any { return &w.Options.WaitTimeout }},
	{"embed-certs", "put certificates into the kubeconfig; otherwise name their files", PerRun, func(w *Wanted) any { return &w.Options.EmbedCerts }},
	{"keep-context", "leave the kubeconfig's current context as it is", PerRun, func(w *Wanted) any { return &w.Options.KeepContext }},
	{"delete-on-failure", "delete the cluster if it cannot be started", PerRun, func(w *Wanted) any { return &w.Options.DeleteOnFailure }},
	{"dry-run", "print what would be done, and touch nothing", PerRun, func(w *Wanted) any { return &w.Options.DryRun }},
	{"download-only", "only see to it that node image and bundle are there and whole", PerRun, func(w *Wanted) any { return &w.Options.DownloadOnly }},
	{"no-template", "boot and provision, instead of forking a template", PerRun, func(w *Wanted) any { return &w.Options.NoTemplate }},
	{"trace", "write into this file what took how long, here and on the node, for chrome://tracing or Perfetto", PerRun, func(w *Wanted) any { return &w.Options.Trace }},
}

// FindSetting returns the setting of a key; a key that is none is a failure with the nearest.
func FindSetting(key string) (Setting, error) {
	keys := make([]string, len(Settings))
	for i, s := range Settings {
		if s.Key == key {
			return s, nil
		}
		keys[i] = s.Key
	}
	failure := fail.New(fail.BadConfig, "there is no setting %q", key)
	if near := nearest.To(key, keys); near != "" {
		return Setting{}, failure.WithAdvice("did you mean %q?", near)
	}
	return Setting{}, failure.WithAdvice("there are %s", strings.Join(keys, ", "))
}

// IsBool reports whether the setting is a switch; IsList whether it has several values.
func (s Setting) IsBool() bool { _, ok := s.field(&Wanted{}).(*bool); return ok }

// IsList reports whether the setting has several values.
func (s Setting) IsList() bool { _, ok := s.field(&Wanted{}).(*[]string); return ok }

// Get returns the value as text.
func (s Setting) Get(w Wanted) string {
	switch p := s.field(&w).(type) {
	case *string:
		return *p
	case *int:
		return strconv.Itoa(*p)
	case *bool:
		return strconv.FormatBool(*p)
	case *[]string:
		return strings.Join(*p, ",")
	case fmt.Stringer:
		return p.String()
	default:
		panic("setting " + s.Key + " has a type that nobody can print") // the table is wrong, and every test fails
	}
}

// Set reads the values, of which only lists have several, into w.
func (s Setting) Set(w *Wanted, values []string, from Source) error {
	if err := s.parse(w, values); err != nil {
		return fail.Wrap(fail.BadValue, err, "%s %s", from.Where, strings.Join(values, ","))
	}
	if w.Sources == nil {
		w.Sources = map[string]Source{}
	}
	w.Sources[s.Key] = from
	return nil
}

func (s Setting) parse(w *Wanted, values []string) (err error) {
	field := s.field(w)
	if list, ok := field.(*[]string); ok {
		*list = slices.DeleteFunc(slices.Clone(values), func(v string) bool { return v == "" })
		return nil
	}
	if len(values) != 1 {
		return fmt.Errorf("one value is needed, not %d", len(values))
	}
	text := strings.TrimSpace(values[0])
	switch p := field.(type) {
	case *string:
		*p = text
		if s.Key == "driver" {
			*p = registry.Canonical(text)
		}
	case *int:
		if s.Key == "cpus" && (text == "max" || text == "no-limit") {
			*p = allCPUs
			return nil
		}
		if *p, err = strconv.Atoi(text); err != nil {
			err = fmt.Errorf("%q is not a whole number", text)
		}
	case *bool:
		if *p, err = strconv.ParseBool(text); err != nil {
			err = fmt.Errorf("%q is neither true nor false", text)
		}
	case *size.Size:
		if s.Key == "memory" && (text == "max" || text == "no-limit") { // a machine has a limit always
			*p = allMemory
			return nil
		}
		err = p.UnmarshalText([]byte(text))
	case encoding.TextUnmarshaler:
		err = p.UnmarshalText([]byte(text))
	}
	return err
}

// A wish for as much as the host has; Validate resolves it.
const (
	allCPUs             = -1
	allMemory size.Size = -1
)
