package cluster

import (
	"regexp"
	"time"

	"github.com/dorykube/dory/drivers/libvirt"
	"github.com/dorykube/dory/internal/fail"
	"github.com/dorykube/dory/internal/size"
)

// DefaultName is the cluster that is meant when none is named.
const DefaultName = "dory"

// Spec is what the user wants a cluster to be. Its keys in JSON and YAML are those of the flags of 'dory start'.
type Spec struct {
	// Driver that makes the machine: qemu, libvirt, ssh, or auto for the first that works here.
	Driver string `json:"driver"`
	// CPUs of the machine.
	CPUs int `json:"cpus"`
	// Memory of the machine.
	Memory size.Size `json:"memory"`
	// DiskSize is the largest size that the machine's disk grows to.
	DiskSize size.Size `json:"disk-size"`
	// Accel is the accelerator: auto, kvm, hvf, whpx or tcg.
	Accel string `json:"accel"`
	// CPUModel is the processor model and its features, as QEMU's -cpu takes them; auto: the best that boots.
	CPUModel string `json:"cpu-model"`
	// Nodes is how many nodes the cluster has.
	Nodes int `json:"nodes"`
	// KubernetesVersion is the version of Kubernetes, with its v.
	KubernetesVersion string `json:"kubernetes-version"`
	// APIServerPort is the API server's port, in the machine and on this computer; 0: 6443 in the machine, and a port
	// that is free on this computer.
	APIServerPort int `json:"apiserver-port,omitempty"`
	// APIServerNames are further names in the API server's certificate.
	APIServerNames []string `json:"apiserver-names,omitempty"`
	// APIServerIPs are further addresses in the API server's certificate.
	APIServerIPs []string `json:"apiserver-ips,omitempty"`
	// ServiceCIDR is the address range of Services.
	ServiceCIDR string `json:"service-cluster-ip-range"`
	// DNSDomain is the cluster's DNS domain.
	DNSDomain string `json:"dns-domain"`
	// ExtraConfig are flags of Kubernetes' components: component.flag=value.
	ExtraConfig []string `json:"extra-config,omitempty"`
	// FeatureGates of every component: Gate=true,Gate=false.
	FeatureGates string `json:"feature-gates,omitempty"`
	// Addons that are switched on.
	Addons []string `json:"addons,omitempty"`
	// LibvirtURI is the libvirt that makes the machine, for driver libvirt.
	LibvirtURI string `json:"kvm-qemu-uri,omitempty"`
	// Remote is the machine that exists already, for driver ssh.
	RemoteSpec
	// Ephemeral trades durability for speed: what the guest writes need not reach this computer's disk.
	Ephemeral bool `json:"ephemeral,omitempty"`
}

// RemoteSpec says which machine becomes a node, and who logs in there. Only driver ssh asks.
type RemoteSpec struct {
	// Address is the machine's name or address.
	Address string `json:"ssh-ip-address,omitempty"`
	// Port of its SSH server.
	Port int `json:"ssh-port,omitempty"`
	// User is root, or somebody whom sudo asks for no password.
	User string `json:"ssh-user,omitempty"`
	// Key is the file with the private key; empty: the agent's keys, and the usual files in ~/.ssh.
	Key string `json:"ssh-key,omitempty"`
	// Jump is a machine on the way there, [user@]host[:port]; empty: none.
	Jump string `json:"ssh-jump,omitempty"`
}

// Options are how a start is to go about it. They are no part of the cluster.
type Options struct {
	Wait            string   `json:"wait"`
	WaitTimeout     Duration `json:"wait-timeout"`
	EmbedCerts      bool     `json:"embed-certs"`
	KeepContext     bool     `json:"keep-context"`
	DeleteOnFailure bool     `json:"delete-on-failure"`
	DryRun          bool     `json:"dry-run"`
	DownloadOnly    bool     `json:"download-only"`
	NoTemplate      bool     `json:"no-template"`
	Trace           string   `json:"trace"` // file for what took how long; empty: none
}

// Duration is a time.Duration that is text in JSON.
type Duration time.Duration

func (d Duration) String() string { return time.Duration(d).String() }

// MarshalText writes what UnmarshalText reads.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads "6m" or "1h30m".
func (d *Duration) UnmarshalText(text []byte) error {
	parsed, err := time.ParseDuration(string(text))
	*d = Duration(parsed)
	return err
}

// Defaults are the values of everything that nobody wished for.
func Defaults() (Spec, Options) {
	return Spec{
			Driver: "auto", CPUs: 2, Memory: 4 * size.GiB, DiskSize: 20 * size.GiB, Accel: "auto", CPUModel: "auto", Nodes: 1,
			KubernetesVersion: Versions[0], ServiceCIDR: "10.96.0.0/12", DNSDomain: "cluster.local",
			LibvirtURI: libvirt.DefaultURI,
			RemoteSpec: RemoteSpec{Port: 22, User: "root"},
		}, Options{
			Wait: "apiserver,system_pods", WaitTimeout: Duration(6 * time.Minute), EmbedCerts: true,
		}
}

// longestName leaves room for what is appended: "-2" of the second node, in a host name of at most 63 characters.
const longestName = 40

var namePattern = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`)

// CheckName refuses what is not a name for a cluster. Names become directories, host names and kubeconfig contexts.
func CheckName(name string) error {
	if len(name) > longestName {
		return fail.New(fail.BadName, "the cluster name %.50q has %d characters", name, len(name))
	}
	if !namePattern.MatchString(name) {
		return fail.New(fail.BadName, "%q is not a name for a cluster", name)
	}
	return nil
}
