package cmd

import (
	"slices"
	"strings"

	"github.com/dorykube/dory/internal/fail"
	"github.com/spf13/pflag"
)

// compatFlag is a flag of minikube's start that dory has no setting for.
type compatFlag struct {
	name string
	// values that say what dory does anyway; "*" accepts all. A value that is not among them is refused.
	values []string
	// alias is the setting that the flag is another name for.
	alias string
	// instead is what to use in place of a flag that is refused, or what a flag that is accepted comes to.
	instead string
	isBool  bool
	short   string // the letter that it has too
}

var (
	whatever = []string{"*"}
	onlyTrue = []string{"true"}
)

// compat are the flags that a script written for minikube may have. None is swallowed: each is honoured, because what it
// asks for is what dory does, or refused by name.
var compat = []compatFlag{
	{name: "vm-driver", alias: "driver"},
	{name: "container-runtime", short: "c", values: []string{"containerd", "", "auto", "default"}, instead: "the container runtime is containerd"},
	{name: "cni", values: []string{"", "auto", "bridge"}, instead: "the network is CNI's bridge; install another one into the cluster with --wait=none"},
	{name: "network-plugin", values: []string{"", "cni"}, instead: "the network is CNI's"},
	{name: "bootstrapper", short: "b", values: []string{"", "kubeadm"}, instead: "dory provisions by itself"},
	{name: "install-addons", values: onlyTrue, isBool: true, instead: "DNS and storage are always there"},
	{name: "preload", values: whatever, isBool: true, instead: "images come with the bundle"},
	{name: "auto-update-drivers", values: whatever, isBool: true, instead: "there are no drivers to update"},
	{name: "cache-images", values: whatever, isBool: true, instead: "images come with the bundle"},
	{name: "interactive", values: whatever, isBool: true, instead: "dory never asks"},
	{name: "force", values: whatever, isBool: true, instead: "there is nothing to force: dory neither needs root nor refuses it"},
	{name: "vm", values: onlyTrue, isBool: true, instead: "every cluster is a VM"},
	{name: "native-ssh", values: onlyTrue, isBool: true, instead: "dory speaks SSH by itself"},
	{name: "no-vtx-check", values: whatever, isBool: true, instead: "dory tries accelerators out, and falls back to emulation"},
	{name: "force-systemd", values: onlyTrue, isBool: true, instead: "cgroups are systemd's"},
	{name: "rootless", values: whatever, isBool: true, instead: "dory needs no root"},
	{name: "disable-driver-mounts", values: whatever, isBool: true, instead: "nothing of this computer is mounted"},
	{name: "host-dns-resolver", values: onlyTrue, isBool: true, instead: "the machine asks this computer's resolver"},
	{name: "skip-audit", values: whatever, isBool: true, instead: "there is no audit file"},

	{name: "gpus", short: "g", instead: "nothing: a machine of dory's has no GPU"},
	{name: "mount", isBool: true, instead: "'dory cp', or a volume"},
	{name: "mount-string", instead: "'dory cp', or a volume"},
	{name: "mount-9p-version", instead: "'dory cp', or a volume"}, {name: "mount-gid", instead: "'dory cp', or a volume"},
	{name: "mount-ip", instead: "'dory cp', or a volume"}, {name: "mount-msize", instead: "'dory cp', or a volume"},
	{name: "mount-options", instead: "'dory cp', or a volume"}, {name: "mount-port", instead: "'dory cp', or a volume"},
	{name: "mount-type", instead: "'dory cp', or a volume"}, {name: "mount-uid", instead: "'dory cp', or a volume"},
	{name: "auto-pause-interval", instead: "'dory pause' or 'dory stop': a machine is not paused by itself"},
	{name: "ha", isBool: true, instead: "nothing: clusters have one control plane"},
	{name: "no-kubernetes", isBool: true, instead: "nothing: a cluster without Kubernetes is not one"},
	{name: "image-mirror-country", instead: "nothing: the system's images come with the bundle"},
	{name: "image-repository", instead: "nothing: the system's images come with the bundle"},
	{name: "binary-mirror", instead: "nothing: binaries come with the bundle"},
	{name: "registry-mirror", instead: "a containerd configuration on the node: 'dory ssh'"},
	{name: "insecure-registry", instead: "a containerd configuration on the node: 'dory ssh'"},
	{name: "iso-url", instead: "the node image in the cache"},
	{name: "base-image", instead: "the node image in the cache"},
	{name: "docker-env", instead: "nothing: there is no Docker in the machine"},
	{name: "docker-opt", instead: "nothing: there is no Docker in the machine"},
	{name: "enable-default-cni", isBool: true, instead: "--cni bridge"},
	{name: "extra-disks", instead: "a volume"},
	{name: "static-ip", instead: "nothing: the machine is reached on 127.0.0.1"},
	{name: "subnet", instead: "nothing: the machine has a network of its own"},
	{name: "network", instead: "nothing: the machine has a network of its own"},
	{name: "listen-address", instead: "nothing: dory listens on 127.0.0.1 only"},
	{name: "ports", instead: "'kubectl port-forward'"},
	{name: "apiserver-name", instead: "--apiserver-names"},
	{name: "cert-expiration", instead: "nothing: certificates are made anew at each start"},
	{name: "cri-socket", instead: "nothing: the container runtime is containerd"},
	{name: "dns-proxy", isBool: true, instead: "nothing: the machine asks this computer's resolver"},
	{name: "disable-metrics", isBool: true, instead: "--addons without metrics-server, which is the default"},
	{name: "disable-optimizations", isBool: true, instead: "--extra-config"},
	{name: "namespace", instead: "'kubectl config set-context --current --namespace'"},
	{name: "uuid", instead: "nothing: a machine's UUID is made once"},
	{name: "socket-vmnet-client-path", instead: "nothing: the network needs no helper"},
	{name: "socket-vmnet-path", instead: "nothing: the network needs no helper"},
	{name: "qemu-firmware-path", instead: "nothing: the kernel is booted directly"},
	{name: "host-only-cidr", instead: "--driver qemu"},
	{name: "kvm-network", instead: "nothing: driver libvirt makes each machine a network of its own"},
	{name: "kvm-gpu", isBool: true, instead: "--driver qemu"}, {name: "kvm-hidden", isBool: true, instead: "--driver qemu"},
	{name: "kvm-numa-count", instead: "--driver qemu"},
	{name: "hyperv-virtual-switch", instead: "--driver qemu"}, {name: "hyperv-use-external-switch", isBool: true, instead: "--driver qemu"},
	{name: "hyperv-external-adapter", instead: "--driver qemu"}, {name: "hyperkit-vpnkit-sock", instead: "--driver qemu"},
	{name: "hyperkit-vsock-ports", instead: "--driver qemu"}, {name: "nfs-share", instead: "--driver qemu"},
	{name: "nfs-shares-root", instead: "--driver qemu"}, {name: "nat-nic-type", instead: "--driver qemu"},
	{name: "host-only-nic-type", instead: "--driver qemu"}, {name: "hidden", isBool: true, instead: "--driver qemu"},
	{name: "user", instead: "nothing: there is no audit file"},
}

// accepts reports whether a value is what dory does anyway.
func (f compatFlag) accepts(value string) bool {
	return slices.Contains(f.values, "*") || slices.Contains(f.values, strings.ToLower(value))
}

// refuse says what to do instead.
func (f compatFlag) refuse(value string) error {
	if f.values != nil {
		return fail.New(fail.Unsupported, "--%s %s is not supported", f.name, value).WithAdvice("leave it out: %s", f.instead)
	}
	advice := "use instead: " + f.instead
	if why, ok := strings.CutPrefix(f.instead, "nothing: "); ok {
		advice = "leave it out: " + why
	}
	return fail.New(fail.Unsupported, "--%s is not supported", f.name).WithAdvice("%s", advice)
}

// compatFlags are the values that were given.
type compatFlags struct{ values map[string]*string }

func addCompat(flags *pflag.FlagSet) *compatFlags {
	c := &compatFlags{values: map[string]*string{}}
	for _, f := range compat {
		value := ""
		c.values[f.name] = &value
		flag := flags.VarPF(&once{value: &value, kind: "string"}, f.name, f.short, f.instead)
		flag.Hidden = true
		if f.isBool {
			flag.NoOptDefVal = "true"
		}
	}
	return c
}

// apply puts what the flags ask for among the settings, refuses what dory cannot honour, and returns what to say of the
// rest.
func (c *compatFlags) apply(flags *pflag.FlagSet, settings map[string][]string) (notes []string, err error) {
	for _, f := range compat {
		if !flags.Changed(f.name) {
			continue
		}
		value := *c.values[f.name]
		switch {
		case f.alias != "":
			if other, ok := settings[f.alias]; ok && other[0] != value {
				return nil, fail.New(fail.Usage, "--%s %s and --%s %s disagree", f.alias, other[0], f.name, value)
			}
			settings[f.alias] = []string{value}
		case f.accepts(value):
			notes = append(notes, "--"+f.name+" is what dory does anyway: "+f.instead)
		default:
			return nil, f.refuse(value)
		}
	}
	return notes, nil
}
