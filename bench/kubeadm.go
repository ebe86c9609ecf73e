package main

import (
	"archive/tar"
	"bytes"
	"context"
	"embed"
	"fmt"
	"io/fs"
	"os"
	"path"
	"text/template"
	"time"

	"github.com/dorykube/dory/bundle"
	"github.com/dorykube/dory/provision"
)

// The baseline: kubeadm init, with kubeadm's defaults, on a VM that dory's driver makes of the same node image, with as many
// processors and as much memory. containerd runs before the clock does, and has all images unpacked. minikube and kind make
// their clusters in this way.

// kubeadmCommand is all that kubeadm is told, but for what node/etc/kubernetes/kubeadm.yaml has.
const kubeadmCommand = "kubeadm init --config=/etc/kubernetes/kubeadm.yaml"

const podCIDR = "10.244.0.0/16"

const rowInit = "from SSH on: kubeadm init has ended"

// readBaseline makes the baseline's disk, if need be, and has the page cache keep it, as it keeps the bundle of a cold start.
func readBaseline(ctx context.Context, b *bench) error {
	software, err := b.bundle(ctx)
	if err != nil {
		return err
	}
	disk, err := kubeadmArtifact(ctx, software)
	if err != nil {
		return err
	}
	if _, err := os.ReadFile(disk); err != nil {
		return err
	}
	return readArtifacts(ctx, b)
}

// kubeadmInit makes one cluster and follows it to the milestones of a cold start.
func kubeadmInit(ctx context.Context, b *bench, s *section) error {
	software, err := b.bundle(ctx)
	if err != nil {
		return err
	}
	disk, err := kubeadmArtifact(ctx, software)
	if err != nil {
		return err
	}
	files, err := nodeArchive(nodeSettings(software))
	if err != nil {
		return err
	}
	vm, err := newVM(disk)
	if err != nil {
		return err
	}
	defer vm.remove(context.WithoutCancel(ctx))
	began := time.Now()
	if err := vm.boot(ctx); err != nil {
		return err
	}
	boot := time.Since(began)
	s.add(rowSSH, "s", boot.Seconds())
	if err := vm.install(ctx, files); err != nil {
		return err
	}
	s.since("not counted: files and containerd", began.Add(boot))
	if err := vm.follow(ctx, b, s, boot); err != nil {
		return vm.explain(ctx, err)
	}
	return resident(s, []int{vm.status.PID})
}

// What follows kubeadm: the node's only pods would otherwise be kubeadm's own (minikube and kind take the taint away, too), and
// dory's start waits for CoreDNS as well. The deployment is Available with the first of its two pods.
var (
	untaint  = []string{"taint", "nodes", "--all", "node-role.kubernetes.io/control-plane-"}
	awaitDNS = []string{"-n", "kube-system", "wait", "--for=condition=Available", "deployment/coredns", "--timeout=10m"}
)

// follow runs kubeadm, and counts as if containerd had been running when SSH answered; the boot took that long.
func (v *vm) follow(ctx context.Context, b *bench, s *section, boot time.Duration) error {
	banner := time.Now()
	if err := v.run(ctx, kubeadmCommand); err != nil {
		return err
	}
	s.since(rowInit, banner)
	k, err := v.kubectl(ctx, b)
	if err != nil {
		return err
	}
	for _, args := range [][]string{untaint, awaitDNS} {
		if _, err := k.run(ctx, "", args...); err != nil {
			return err
		}
	}
	if err := k.phases(ctx, s, boot+time.Since(banner)); err != nil {
		return err
	}
	s.since(rowDNS, banner)
	return k.transitions(ctx, s, banner)
}

//go:embed all:node
var nodeFiles embed.FS

// fromDory are the files of dory's nodes that the baseline's node has too: what the bundle, containerd and the pods' network
// need. Patterns, since a unit's programs may be others tomorrow.
var fromDory = []string{
	"etc/cni/net.d/10-dory.conflist",
	"etc/containerd/config.toml",
	"etc/kubernetes/pod-network.nft",
	"etc/systemd/system/containerd.service",
	"etc/systemd/system/dory-bundle.service",
	"usr/local/lib/dory/*",
}

// nodeLinks are kubeadm's programs where its packages put them, and the kubelet's unit, enabled as they do it.
var nodeLinks = map[string]string{
	"usr/bin/kubeadm": "/opt/dory/bundle/bin/kubeadm",
	"usr/bin/kubelet": "/opt/dory/bundle/bin/kubelet",
	"usr/bin/kubectl": "/opt/dory/bundle/bin/kubectl",
	"etc/systemd/system/multi-user.target.wants/kubelet.service": "../kubelet.service",
}

// nodeArchive is a tar of everything that goes onto the node. All text files are templates over settings.
func nodeArchive(settings provision.Settings) ([]byte, error) {
	var out bytes.Buffer
	archive := tar.NewWriter(&out)
	own, err := fs.Sub(nodeFiles, "node")
	if err != nil {
		return nil, err
	}
	dorys := os.DirFS("provision/rootfs")
	var names []string
	for _, pattern := range fromDory {
		found, err := fs.Glob(dorys, pattern)
		if err != nil || len(found) == 0 {
			return nil, fmt.Errorf("dory's nodes have no %s", pattern)
		}
		names = append(names, found...)
	}
	if err := addFiles(archive, dorys, names, settings); err != nil {
		return nil, err
	}
	names = nil
	err = fs.WalkDir(own, ".", func(name string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			names = append(names, name)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	if err := addFiles(archive, own, names, settings); err != nil {
		return nil, err
	}
	for name, target := range nodeLinks {
		if err := archive.WriteHeader(&tar.Header{Name: name, Linkname: target, Typeflag: tar.TypeSymlink}); err != nil {
			return nil, err
		}
	}
	err = archive.Close()
	return out.Bytes(), err
}

// addFiles renders files into the archive.
func addFiles(archive *tar.Writer, from fs.FS, names []string, settings provision.Settings) error {
	for _, name := range names {
		parsed, err := template.New(path.Base(name)).Option("missingkey=error").ParseFS(from, name)
		if err != nil {
			return err
		}
		var content bytes.Buffer
		if err := parsed.Execute(&content, settings); err != nil {
			return err
		}
		header := &tar.Header{Name: name, Mode: 0o644, Size: int64(content.Len()), Typeflag: tar.TypeReg}
		if path.Dir(name) == "usr/local/lib/dory" { // where dory's programs are
			header.Mode = 0o755
		}
		if err := archive.WriteHeader(header); err != nil {
			return err
		}
		if _, err := archive.Write(content.Bytes()); err != nil {
			return err
		}
	}
	return nil
}

// nodeSettings are those that the templates of fromDory read.
func nodeSettings(software *bundle.Bundle) provision.Settings {
	images := map[string]string{}
	for _, image := range software.Manifest.Images {
		images[image.Name] = image.Reference
	}
	return provision.Settings{KubernetesVersion: software.Manifest.Kubernetes, PodCIDR: podCIDR, Images: images}
}
