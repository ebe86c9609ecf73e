package cluster

import (
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"github.com/dorykube/dory/drivers"
	"github.com/dorykube/dory/drivers/libvirt"
	"github.com/dorykube/dory/drivers/registry"
	"github.com/dorykube/dory/internal/fail"
	"github.com/dorykube/dory/internal/hostinfo"
	"github.com/dorykube/dory/internal/kube"
	"github.com/dorykube/dory/internal/nearest"
	"github.com/dorykube/dory/internal/size"
)

// What a cluster needs at least: kubeadm's and minikube's minimum of CPUs, what a settled control plane and the node
// image use with a little room for pods, and the same on disk.
const (
	leastCPUs   = 2
	leastMemory = 1800 * size.MiB
	leastDisk   = 2 * size.GiB
)

// guestAPIPort is the API server's port in the machine unless the user chose one; upstream's default.
const guestAPIPort = 6443

// podCIDR is where pods are. Addresses of Services must not be, nor those of the machine's network.
const podCIDR = "10.244.0.0/16"

// Ports of a node that are taken: SSH, etcd, kubelet, kube-proxy, controller manager, scheduler.
var nodePorts = []int{22, 2379, 2380, 10248, 10249, 10250, 10256, 10257, 10259}

var accels = []string{"auto", "kvm", "hvf", "whpx", "tcg"}

var domainPattern = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?(\.[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)*$`)

// Validate refuses what is impossible on this computer, and puts what was said in short into its full form.
func (w *Wanted) Validate(host hostinfo.Host) error {
	if err := w.checkLibvirt(); err != nil {
		return err
	}
	for _, check := range []func(*Spec, hostinfo.Host) error{checkRemote, checkResources, checkKubernetes, checkAddresses, checkNames} {
		if err := check(&w.Spec, host); err != nil {
			return err
		}
	}
	return w.checkOptions()
}

func (w *Wanted) checkOptions() error {
	if _, err := kube.ParseWait(w.Options.Wait); err != nil {
		return fail.Wrap(fail.BadValue, err, "--wait %s", w.Options.Wait)
	}
	if w.Options.WaitTimeout <= 0 {
		return fail.New(fail.BadValue, "--wait-timeout %s is no time at all", w.Options.WaitTimeout)
	}
	return nil
}

func checkResources(s *Spec, host hostinfo.Host) error {
	if libvirt.Elsewhere(s.LibvirtURI) && s.Driver == libvirt.Name { // what that computer has, libvirt will say
		host = hostinfo.Host{CPUs: max(s.CPUs, host.CPUs)}
	}
	if s.CPUs == allCPUs {
		s.CPUs = host.CPUs
	}
	if s.Memory == allMemory {
		if host.Memory == 0 {
			return fail.New(fail.MemoryTooMuch, "--memory max: how much memory this computer has is not known").WithAdvice("say how much: --memory 4g")
		}
		s.Memory = host.Memory / size.MiB * size.MiB
	}
	if s.Driver == sshDriver { // the machine has what it has
		return checkNodes(s)
	}
	switch {
	case s.CPUs < leastCPUs:
		return fail.New(fail.CoresTooMany, "--cpus %d: a cluster needs at least %d", s.CPUs, leastCPUs)
	case s.CPUs > host.CPUs:
		return fail.New(fail.CoresTooMany, "--cpus %d: this computer has %d", s.CPUs, host.CPUs)
	case s.Memory < leastMemory:
		return fail.New(fail.MemoryTooMuch, "--memory %s: a cluster needs at least %s", s.Memory, leastMemory)
	case host.Memory > 0 && s.Memory > host.Memory:
		return fail.New(fail.MemoryTooMuch, "--memory %s: this computer has %s", s.Memory, host.Memory.Round())
	case s.DiskSize < leastDisk:
		return fail.New(fail.DiskTooMuch, "--disk-size %s: a cluster needs at least %s", s.DiskSize, leastDisk)
	}
	return checkNodes(s)
}

// checkLibvirt checks which libvirt is meant. Another driver may not be told of one, but where somebody has one in his
// environment or configuration for when he needs it, that driver does not care.
func (w *Wanted) checkLibvirt() error {
	s, from := &w.Spec, w.Sources["kvm-qemu-uri"]
	if s.Driver == libvirt.Name || s.Driver == registry.Auto {
		return libvirt.Parse(s.LibvirtURI)
	}
	if from.Kind == FromFlag || from.Kind == FromFile {
		return fail.New(fail.BadValue, "--kvm-qemu-uri %s is for --driver libvirt, not for %s", s.LibvirtURI, s.Driver)
	}
	s.LibvirtURI = ""
	return nil
}

func checkNodes(s *Spec) error {
	switch {
	case s.Nodes < 1:
		return fail.New(fail.BadValue, "--nodes %d: a cluster has at least one node", s.Nodes)
	case s.Nodes > 1:
		return fail.New(fail.Unsupported, "--nodes %d: clusters of several nodes are not supported yet", s.Nodes).
			WithAdvice("leave --nodes out")
	}
	return nil
}

func checkKubernetes(s *Spec, _ hostinfo.Host) (err error) {
	if s.KubernetesVersion, err = ResolveVersion(s.KubernetesVersion); err != nil {
		return err
	}
	if !slices.Contains(accels, s.Accel) {
		return oneOf("--accel", s.Accel, accels)
	}
	if err := drivers.CheckCPUModel(s.CPUModel); err != nil {
		return err
	}
	if err := provisionSettings(*s, nil, userNetwork).Validate(); err != nil {
		return fail.Wrap(fail.BadValue, err, "read the settings of Kubernetes")
	}
	return nil
}

func checkAddresses(s *Spec, _ hostinfo.Host) error {
	services, err := netip.ParsePrefix(s.ServiceCIDR)
	if err != nil || !services.Addr().Is4() {
		return fail.New(fail.BadValue, "--service-cluster-ip-range %q is not an IPv4 range such as 10.96.0.0/12", s.ServiceCIDR)
	}
	// The tenth address is the DNS Service's; kube-apiserver takes at most 20 bits of addresses from IPv6, IPv4 has no limit.
	if services.Bits() > 27 {
		return fail.New(fail.BadValue, "--service-cluster-ip-range %s is too small; 27 bits of prefix at most", s.ServiceCIDR)
	}
	for what, cidr := range map[string]string{"pods": podCIDR, "the machine's network": machineNetwork, "this computer": "127.0.0.0/8"} {
		if services.Overlaps(netip.MustParsePrefix(cidr)) {
			return fail.New(fail.BadValue, "--service-cluster-ip-range %s overlaps %s, where %s is", s.ServiceCIDR, cidr, what)
		}
	}
	s.ServiceCIDR = services.Masked().String()
	if s.APIServerPort < 0 || s.APIServerPort > 65535 {
		return fail.New(fail.BadValue, "--apiserver-port %d is not a port", s.APIServerPort)
	}
	if slices.Contains(nodePorts, s.APIServerPort) {
		return fail.New(fail.BadValue, "--apiserver-port %d is used by another part of a node", s.APIServerPort)
	}
	for _, ip := range s.APIServerIPs {
		if _, err := netip.ParseAddr(ip); err != nil {
			return fail.New(fail.BadValue, "--apiserver-ips %q is not an address", ip)
		}
	}
	return nil
}

func checkNames(s *Spec, _ hostinfo.Host) error {
	if len(s.DNSDomain) > 200 || !domainPattern.MatchString(s.DNSDomain) {
		return fail.New(fail.BadValue, "--dns-domain %q is not a DNS domain", s.DNSDomain)
	}
	for _, name := range s.APIServerNames {
		if !domainPattern.MatchString(strings.TrimPrefix(name, "*.")) {
			return fail.New(fail.BadValue, "--apiserver-names %q is not a DNS name", name)
		}
	}
	return nil
}

// oneOf refuses a word that is not in a list.
func oneOf(what, word string, words []string) error {
	failure := fail.New(fail.BadValue, "%s %q: there are %s", what, word, strings.Join(words, ", "))
	if near := nearest.To(word, words); near != "" {
		failure.WithAdvice("did you mean %s %s?", what, near)
	}
	return failure
}
