package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/dorykube/dory/bundle"
)

// The baseline's disk: dory's own bundle, to which kubeadm and the images of its static pods are added. A machine is given
// it in place of the bundle, so containerd, runc, etcd and the CNI plugins are the same files, and the images lie as
// unpacked in it as dory's own. Kubernetes' programs are upstream's, of the same version: what dory's bundle
// patches (bundle/build/patch.go) is a part of how dory makes a cluster, which is what differs between the two.

// podImage is an image that kubeadm's pods run. Its programs are hard links to files of the disk.
type podImage struct {
	repository string            // below registry.k8s.io
	links      map[string]string // path in the image -> path on the disk
	copy       string            // a file by which the bundle's image is known that this one is a copy of
	config     map[string]any
}

// podImages are all that "kubeadm config images list" names, and busybox, in which DNS is asked.
var podImages = []podImage{
	{repository: "kube-apiserver", links: upstream("kube-apiserver")},
	{repository: "kube-controller-manager", links: upstream("kube-controller-manager")},
	{repository: "kube-scheduler", links: upstream("kube-scheduler")},
	{repository: "kube-proxy", links: upstream("kube-proxy")},
	{repository: "etcd", links: map[string]string{"usr/local/bin/etcd": "bin/etcd"}},
	{repository: "coredns/coredns", copy: "coredns", config: map[string]any{"Entrypoint": []string{"/coredns"}}},
	{repository: "pause", copy: "pause", config: map[string]any{"User": "65535:65535", "Entrypoint": []string{"/pause"}}},
	{repository: busybox, copy: "bin/busybox", config: map[string]any{"Cmd": []string{"sh"}}},
}

// busybox is not one of kubeadm's, so its tag is ours to choose.
const (
	busybox      = "busybox"
	busyboxImage = registry + busybox + ":latest"
	registry     = "registry.k8s.io/"
)

func upstream(name string) map[string]string {
	return map[string]string{"usr/local/bin/" + name: "bin/" + name}
}

// recipeVersion is raised when the code below makes something else of the same inputs.
const recipeVersion = 2

// artifact makes the baseline's disk, unless it is there already.
type artifact struct {
	bundle *bundle.Bundle
	work   string
}

// kubeadmArtifact returns the path of the baseline's disk in the cache.
func kubeadmArtifact(ctx context.Context, b *bundle.Bundle) (string, error) {
	out := filepath.Join(cacheRoot(), "bench", fmt.Sprintf("kubeadm-%s-%s.img", b.Manifest.Kubernetes, runtime.GOARCH))
	inputs, err := artifactInputs(b)
	if err != nil {
		return "", err
	}
	if known, _ := os.ReadFile(out + ".inputs"); string(known) == inputs && exists(out) {
		return out, nil
	}
	fmt.Fprintln(os.Stderr, "making the baseline's disk: builds Kubernetes as upstream has it, packs the images of kubeadm's pods; some minutes, once")
	if err := os.MkdirAll(filepath.Dir(out), 0o700); err != nil {
		return "", err
	}
	work, err := os.MkdirTemp(filepath.Dir(out), ".kubeadm-work-*")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(work)
	a := &artifact{b, work}
	if err := a.make(ctx); err != nil {
		return "", fmt.Errorf("make the baseline's disk: %w", err)
	}
	if err := os.Rename(a.path("disk"), out); err != nil {
		return "", err
	}
	return out, os.WriteFile(out+".inputs", []byte(inputs), 0o600)
}

// artifactInputs is a digest of everything the disk is made from.
func artifactInputs(b *bundle.Bundle) (string, error) {
	hash := sha256.New()
	fmt.Fprintln(hash, recipeVersion, b.Digest, runtime.Version(), podImages)
	for _, name := range []string{"bench/kubeadm/go.mod", "bench/kubeadm/go.sum", iptables} { // the bundle's digest stands for the other go.mod
		content, err := os.ReadFile(name)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(hash, "%s %x\n", name, sha256.Sum256(content))
	}
	return hex.EncodeToString(hash.Sum(nil)), nil
}

func (a *artifact) path(name string) string { return filepath.Join(a.work, name) }

// make works through what a bundle's build does, from a bundle that is there.
func (a *artifact) make(ctx context.Context) error {
	for _, step := range []func(context.Context) error{a.unpack, a.compile, a.images, a.containerd, a.pack} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (a *artifact) unpack(ctx context.Context) error {
	return command(ctx, "", nil, "fsck.erofs", "--extract="+a.path("tree"), a.bundle.Path)
}

// kubernetesPrograms are built for the baseline, each in the directory whose go.mod has what it needs.
var kubernetesPrograms = map[string]string{
	"kubeadm":                 "bench/kubeadm",
	"kubelet":                 "bundle/components/kubernetes",
	"kube-apiserver":          "bundle/components/kubernetes",
	"kube-controller-manager": "bundle/components/kubernetes",
	"kube-scheduler":          "bundle/components/kubernetes",
	"kube-proxy":              "bundle/components/kubernetes",
}

// compile builds Kubernetes' programs from the module that the bundle's are built from, stamped alike, without its patches.
func (a *artifact) compile(ctx context.Context) error {
	version := a.bundle.Manifest.Kubernetes
	major, rest, _ := strings.Cut(strings.TrimPrefix(version, "v"), ".")
	minor, _, _ := strings.Cut(rest, ".")
	flags := "-s -w"
	for _, p := range []string{"k8s.io/component-base/version", "k8s.io/client-go/pkg/version"} {
		flags += fmt.Sprintf(" -X=%s.gitVersion=%s -X=%[1]s.gitMajor=%[3]s -X=%[1]s.gitMinor=%[4]s", p, version, major, minor)
	}
	env := []string{"GOFLAGS=-trimpath -buildvcs=false", "GOWORK=off", "CGO_ENABLED=0"}
	for name, dir := range kubernetesPrograms {
		to := a.path("tree/bin/" + name)
		if err := os.Remove(to); err != nil && !errors.Is(err, fs.ErrNotExist) { // a link to the bundle's one binary
			return err
		}
		if err := command(ctx, dir, env, "go", "build", "-ldflags="+flags, "-o", to, "k8s.io/kubernetes/cmd/"+name); err != nil {
			return err
		}
	}
	return nil
}

// images writes an OCI layout of all images, tagged as this kubeadm wants them. Programs are only noted in it: the file says
// which file of the bundle is to take its place.
func (a *artifact) images(ctx context.Context) error {
	list, err := exec.CommandContext(ctx, a.path("tree/bin/kubeadm"), "config", "images", "list", "--kubernetes-version", a.bundle.Manifest.Kubernetes).Output()
	if err != nil {
		return fmt.Errorf("ask kubeadm for its images: %w", err)
	}
	wanted := append(strings.Fields(string(list)), busyboxImage)
	if err := os.Rename(a.path("tree/containerd"), a.path("bundle-containerd")); err != nil {
		return err
	}
	for _, reference := range wanted {
		if err := a.image(ctx, reference); err != nil {
			return fmt.Errorf("%s: %w", reference, err)
		}
	}
	return goRun(ctx, "bundle/components/images", ".", a.path("images"), a.path("layout"))
}

func (a *artifact) image(ctx context.Context, reference string) error {
	repository := strings.TrimPrefix(reference[:strings.LastIndex(reference, ":")], registry)
	for _, image := range podImages {
		if image.repository != repository {
			continue
		}
		dir := a.path(filepath.Join("images", strings.ReplaceAll(repository, "/", "-")))
		if err := a.fill(ctx, image, filepath.Join(dir, "rootfs")); err != nil {
			return err
		}
		config := map[string]any{"Env": []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}, "WorkingDir": "/"}
		for key, value := range image.config {
			config[key] = value
		}
		config["Labels"] = map[string]string{"image": repository} // no two images may have one configuration
		text, err := json.Marshal(map[string]any{
			"reference": reference, "arch": runtime.GOARCH, "created": "2026-01-01T00:00:00Z", "base": image.copy == "", "config": config,
		})
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(dir, "image.json"), text, 0o600)
	}
	return errors.New("no recipe for it")
}

// fill makes the root of an image.
func (a *artifact) fill(ctx context.Context, image podImage, rootfs string) error {
	if image.copy != "" {
		found, err := filepath.Glob(a.path(filepath.Join("bundle-containerd/snapshots/*/fs", image.copy)))
		if err != nil || len(found) != 1 {
			return fmt.Errorf("the bundle has %d images with /%s, not one", len(found), image.copy)
		}
		return os.CopyFS(rootfs, os.DirFS(strings.TrimSuffix(found[0], image.copy)))
	}
	for path, source := range image.links {
		to := filepath.Join(rootfs, path)
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(to, []byte(noteOf(source)), 0o755); err != nil {
			return err
		}
	}
	if image.repository == "kube-proxy" {
		return addIPTables(ctx, rootfs)
	}
	return nil
}

func noteOf(source string) string { return "link to " + source + "\n" }

// containerd makes the containerd root, and puts the programs into the images' snapshots.
func (a *artifact) containerd(ctx context.Context) error {
	const at = "/opt/dory/bundle/containerd"
	pause, err := a.imageName("pause")
	if err != nil {
		return err
	}
	if err := goRun(ctx, "bundle/components/containerd", "./root", a.path("layout"), a.path("tree/containerd"), at, pause); err != nil {
		return err
	}
	for _, image := range podImages {
		for path, source := range image.links {
			found, err := filepath.Glob(a.path(filepath.Join("tree/containerd/snapshots/*/fs", path)))
			if err != nil || len(found) != 1 {
				return fmt.Errorf("%d images have %s, not one", len(found), path)
			}
			if err := errors.Join(os.Remove(found[0]), os.Link(a.path("tree/"+source), found[0])); err != nil {
				return err
			}
		}
	}
	return nil
}

// imageName is the full reference of one of the bundle's images.
func (a *artifact) imageName(name string) (string, error) {
	for _, image := range a.bundle.Manifest.Images {
		if image.Name == name {
			return image.Reference, nil
		}
	}
	return "", fmt.Errorf("the bundle has no image %q", name)
}

// pack makes the file system as a bundle's is made.
func (a *artifact) pack(ctx context.Context) error {
	if err := os.RemoveAll(a.path("tree/images")); err != nil { // the layout of the bundle's images, which are others
		return err
	}
	return command(ctx, "", nil, "mkfs.erofs", "--quiet", "-zlz4hc,9", "-C16384", "-x-1", "--all-root", "-T0", a.path("disk"), a.path("tree"))
}

func goRun(ctx context.Context, dir, source string, args ...string) error {
	return command(ctx, dir, []string{"GOFLAGS=", "GOWORK=off", "CGO_ENABLED=0"}, "go", append([]string{"run", source}, args...)...)
}

// command runs a program; what it says is shown if it fails.
func command(ctx context.Context, dir string, env []string, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w\n%s", name, args[0], err, out)
	}
	return nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
