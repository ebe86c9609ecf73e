package main

import "strings"

// component is a Go module below bundle/components: what is built from it, and into which files of the bundle.
type component struct {
	name     string
	module   string // upstream's, whose version is the component's; empty: dory's own, with dory's version
	license  string // SPDX
	binaries []binary
	stamp    []string // variables to set when linking; {version}, {major}, {minor} and {date} are the component's
	tags     string   // Go's build tags
	cgo      bool     // static all the same
}

type binary struct {
	to      string // path in the tree; below image/ in the root of that container image
	source  string // package
	forHost bool   // for the computer that dory runs on, not for the nodes
}

// kubernetesStamp are the variables that upstream's build sets, in both places where Kubernetes keeps them.
var kubernetesStamp = func() (stamp []string) {
	for _, p := range []string{"k8s.io/component-base/version", "k8s.io/client-go/pkg/version"} {
		stamp = append(stamp, p+".gitVersion={version}", p+".gitMajor={major}", p+".gitMinor={minor}", p+".gitTreeState=clean",
			p+".gitCommit={version}", p+".buildDate={date}")
	}
	return stamp
}()

const (
	containerd = "github.com/containerd/containerd/v2"
	cniPlugins = "github.com/containernetworking/plugins"
	criTools   = "sigs.k8s.io/cri-tools"
	etcd       = "go.etcd.io/etcd/server/v3"
)

var components = []component{
	{
		name: "kubernetes", module: "k8s.io/kubernetes", license: "Apache-2.0", stamp: kubernetesStamp,
		binaries: []binary{
			{to: "bin/kubernetes", source: "."},
			{to: "host/kubectl", source: "k8s.io/kubernetes/cmd/kubectl", forHost: true},
		},
	},
	{
		name: "containerd", module: containerd, license: "Apache-2.0",
		stamp: []string{containerd + "/version.Version={version}"},
		tags:  "no_btrfs,no_devmapper,no_zfs,urfave_cli_no_docs", // what no node uses
		binaries: []binary{
			{to: "bin/containerd", source: containerd + "/cmd/containerd"},
			{to: "bin/containerd-shim-runc-v2", source: containerd + "/cmd/containerd-shim-runc-v2"},
			{to: "bin/ctr", source: containerd + "/cmd/ctr"},
			{to: "bin/containerd-root", source: "./root"},
		},
	},
	{
		name: "runc", module: "github.com/opencontainers/runc", license: "Apache-2.0", cgo: true,
		tags:     "seccomp,netgo,osusergo,urfave_cli_no_docs",
		binaries: []binary{{to: "bin/runc", source: "github.com/opencontainers/runc"}},
	},
	{
		name: "crictl", module: criTools, license: "Apache-2.0",
		stamp:    []string{criTools + "/pkg/version.Version={version}"},
		binaries: []binary{{to: "bin/crictl", source: criTools + "/cmd/crictl"}},
	},
	{
		name: "cni", module: cniPlugins, license: "Apache-2.0",
		stamp:    []string{cniPlugins + "/pkg/utils/buildversion.BuildVersion={version}"},
		binaries: cniBinaries("main/bridge", "main/loopback", "main/ptp", "ipam/host-local", "meta/portmap", "meta/bandwidth", "meta/firewall", "meta/tuning"),
	},
	{
		name: "etcd", module: etcd, license: "Apache-2.0",
		stamp:    []string{"go.etcd.io/etcd/api/v3/version.GitSHA={version}"},
		binaries: []binary{{to: "bin/etcd", source: etcd}},
	},
	{
		name: "coredns", module: "github.com/coredns/coredns", license: "Apache-2.0", tags: "grpcnotrace", // as upstream
		stamp:    []string{"github.com/coredns/coredns/coremain.GitCommit={version}"},
		binaries: []binary{{to: "image/coredns/coredns", source: "."}},
	},
	{
		name: "local-path-provisioner", module: "github.com/rancher/local-path-provisioner", license: "Apache-2.0",
		stamp:    []string{"main.VERSION={version}"},
		binaries: []binary{{to: "image/local-path-provisioner/usr/bin/local-path-provisioner", source: "github.com/rancher/local-path-provisioner"}},
	},
	{
		name: "metrics-server", module: "sigs.k8s.io/metrics-server", license: "Apache-2.0", stamp: kubernetesStamp,
		binaries: []binary{{to: "image/metrics-server/metrics-server", source: "sigs.k8s.io/metrics-server/cmd/metrics-server"}},
	},
	{name: "dory-node", license: "Apache-2.0", binaries: []binary{{to: "bin/dory-node", source: "."}}},
}

func cniBinaries(plugins ...string) (all []binary) {
	for _, plugin := range plugins {
		_, name, _ := strings.Cut(plugin, "/")
		all = append(all, binary{to: "cni/bin/" + name, source: cniPlugins + "/plugins/" + plugin})
	}
	return all
}

// ldflags are the linker's flags for a version "v1.37.2" of a date.
func (c component) ldflags(version, date string) string {
	major, rest, _ := strings.Cut(strings.TrimPrefix(version, "v"), ".")
	minor, _, _ := strings.Cut(rest, ".")
	flags := []string{"-s", "-w"}
	if c.cgo {
		flags = append(flags, "-linkmode=external", "-extldflags=-static")
	}
	values := strings.NewReplacer("{version}", version, "{major}", major, "{minor}", minor, "{date}", date)
	for _, variable := range c.stamp {
		flags = append(flags, "-X="+values.Replace(variable))
	}
	return strings.Join(flags, " ")
}

// links are the names under which components find themselves in the multi-call binary.
var links = map[string]string{
	"bin/kube-apiserver":          "kubernetes",
	"bin/kube-controller-manager": "kubernetes",
	"bin/kube-scheduler":          "kubernetes",
	"bin/kube-proxy":              "kubernetes",
	"bin/kubelet":                 "kubernetes",
	"bin/kubectl":                 "kubernetes",
}
