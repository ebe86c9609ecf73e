package cluster

import (
	"context"
	"fmt"
	"io"
	"net"
	"runtime"
	"slices"
	"time"

	"github.com/dorykube/dory/bundle"
	"github.com/dorykube/dory/drivers"
	"github.com/dorykube/dory/drivers/libvirt"
	"github.com/dorykube/dory/drivers/registry"
	"github.com/dorykube/dory/internal/home"
	"github.com/dorykube/dory/internal/kube"
	"github.com/dorykube/dory/internal/sshrun"
	"github.com/dorykube/dory/iso"
	"github.com/dorykube/dory/provision"
	"github.com/dorykube/dory/provision/pki"
)

// The network of a machine whose driver has a user-mode one: QEMU's own default.
const (
	machineNetwork = "10.0.2.0/24"
	machineIP      = "10.0.2.15"
	hostIP         = "10.0.2.2"
)

// sshUser is who logs in: a node is managed, not lived in.
const sshUser = "root"

// Names of a machine's forwards, and the port of its SSH server.
const (
	sshForward = "ssh"
	apiForward = "apiserver"
	sshPort    = 22
)

// Node is a machine that somebody is logged in to.
type Node interface {
	provision.Runner
	HostKey() string
	Close() error
}

// api is what is asked of an API server.
type api interface {
	Ready(ctx context.Context) error
	WaitReady(ctx context.Context) error
	Wait(ctx context.Context, conditions []string) error
	Holds(ctx context.Context, conditions []string) error
	Get(ctx context.Context, path string) (string, error)
	DeleteEvents(ctx context.Context) error
	Clock(ctx context.Context) (time.Time, error)
	Certificate(ctx context.Context) ([]byte, error)
}

// artifacts are the node image and the bundle that a machine is made from.
type artifacts struct {
	image, imageDigest   string
	bundle, bundleDigest string
	images               map[string]string
	imageDate            time.Time // of what it was made from; see artifactDate
	bundleDate           time.Time
}

// parts are the other packages, as a cluster's life uses them; unit tests have others.
type parts struct {
	driver    func(name string) (registry.Entry, error)
	ask       func(ctx context.Context, o registry.Options, limit time.Duration) []registry.Answer
	askFirst  func(ctx context.Context, o registry.Options, p registry.Patience) []registry.Answer
	artifacts func(ctx context.Context, dirs home.Dirs, version string) (artifacts, error)
	dial      func(ctx context.Context, c sshrun.Config) (Node, error)
	provision func(ctx context.Context, t provision.Target, s provision.Settings, a *pki.Authority, wait []string, timeout time.Duration) error
	settle    func(ctx context.Context, node Node) (result string, err error)
	renew     func(ctx context.Context, line io.ReadWriteCloser, api string, s provision.Settings, a *pki.Authority, id provision.Identity, wait []string, timeout time.Duration) error
	api       func(ca, cert, key []byte, server string) (api, error)
	firstWord func(accel string) time.Duration
}

func realParts() parts {
	return parts{
		driver:    registry.Find,
		ask:       registry.Ask,
		askFirst:  registry.AskFirst,
		artifacts: openArtifacts,
		dial: func(ctx context.Context, c sshrun.Config) (Node, error) {
			client, err := sshrun.Dial(ctx, c)
			if err != nil {
				return nil, err
			}
			return client, nil
		},
		provision: provision.Node,
		settle:    settle,
		renew:     provision.Renew,
		api: func(ca, cert, key []byte, server string) (api, error) {
			return kube.Client(ca, cert, key, server)
		},
		firstWord: drivers.FirstWord,
	}
}

// ImageName and BundleName are the names of the artifacts in the cache.
func imageName() string { return fmt.Sprintf("node-%s.iso", runtime.GOARCH) }

func bundleName(version string) string {
	return fmt.Sprintf("bundle-%s-%s.img", version, runtime.GOARCH)
}

func openArtifacts(ctx context.Context, dirs home.Dirs, version string) (artifacts, error) {
	image, err := iso.Open(ctx, dirs.Artifact(imageName()))
	if err != nil {
		return artifacts{}, err
	}
	b, err := bundle.Open(ctx, dirs.Artifact(bundleName(version)))
	if err != nil {
		return artifacts{}, err
	}
	return artifacts{
		image: image.Path, imageDigest: image.Digest, imageDate: artifactDate(image.Date, image.Path),
		bundle: b.Path, bundleDigest: b.Digest, bundleDate: artifactDate(b.Manifest.Date, b.Path), images: b.Manifest.ImageReferences(),
	}, nil
}

// NodeName is what Kubernetes calls the node, in every cluster: it is part of a template.
const NodeName = "dory"

// provisionSettings are what a spec means for its node.
func provisionSettings(s Spec, images map[string]string, at network) provision.Settings {
	port := s.APIServerPort
	if port == 0 {
		port = guestAPIPort
	}
	names, ips := s.APIServerNames, s.APIServerIPs
	if address := s.Address; net.ParseIP(address) != nil {
		ips = append(slices.Clone(ips), address)
	} else if address != "" {
		names = append(slices.Clone(names), address)
	}
	return provision.Settings{
		NodeName: NodeName, NodeIP: at.node, HostIP: at.host, Borrowed: s.Driver == sshDriver,
		KubernetesVersion: s.KubernetesVersion, Images: images,
		APIServerPort: port, APIServerNames: names, APIServerIPs: ips,
		PodCIDR: podCIDR, ServiceCIDR: s.ServiceCIDR, DNSDomain: s.DNSDomain,
		ExtraConfig: s.ExtraConfig, FeatureGates: s.FeatureGates, Addons: s.Addons, Ephemeral: s.Ephemeral,
	}
}

// provisionKey names what a node is provisioned with: equal keys, nothing to do.
func provisionKey(s provision.Settings) (string, error) {
	files, err := provision.FilesDigest(s)
	return s.Digest() + "-" + files, err
}

// network is where a machine and this computer are, as the machine sees it.
type network struct{ node, host string }

// userNetwork is that of QEMU's user mode.
var userNetwork = network{machineIP, hostIP}

// machineFor is the machine that a spec asks for. What an existing machine has already stays: see update.
func machineFor(s Spec, name, uuid, dir string) drivers.Machine {
	api := drivers.Forward{Name: apiForward, Guest: guestAPIPort, Prefer: true}
	if s.APIServerPort != 0 {
		api = drivers.Forward{Name: apiForward, Guest: s.APIServerPort, Host: s.APIServerPort}
	}
	m := drivers.Machine{
		Name: name, UUID: uuid, Dir: dir,
		CPUs: s.CPUs, Memory: int64(s.Memory), Disk: int64(s.DiskSize),
		Forwards: []drivers.Forward{{Name: sshForward, Guest: sshPort, Prefer: true}, api},
		Accel:    s.Accel, CPUModel: s.CPUModel, Ephemeral: s.Ephemeral,
	}
	if s.Driver == libvirt.Name {
		m.URI = s.LibvirtURI
	}
	if s.Driver == sshDriver {
		r := s.RemoteSpec
		m.Remote = &drivers.Remote{Address: r.Address, Port: r.Port, User: r.User, KeyFile: r.Key, Jump: r.Jump}
		m.Disk = int64(leastDisk) // the machine's disk is what it is
	}
	return m
}
