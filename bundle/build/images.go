package main

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/dorykube/dory/bundle"
)

// image is a container image that nodes find already unpacked, named and run as upstream's.
type image struct {
	name       string
	repository string
	component  string // whose version is the tag
	tag        string // where it is not a component's version
	base       bool   // certificates, users and /tmp, as upstream has them from distroless/static
	config     map[string]any
}

// pauseTag is the one that containerd and kubeadm of these versions name.
const pauseTag = "3.10.2"

var searchPath = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}

// images: what runs as pods on a node. CoreDNS has no file capability here, as it has upstream: containerd lets every
// container bind ports below 1024.
var images = []image{
	{
		name: "pause", repository: "registry.k8s.io/pause", tag: pauseTag,
		config: map[string]any{"User": "65535:65535", "Entrypoint": []string{"/pause"}, "Env": searchPath, "WorkingDir": "/"},
	},
	{
		name: "coredns", repository: "registry.k8s.io/coredns/coredns", component: "coredns", base: true,
		config: map[string]any{
			"User": "65532:65532", "Entrypoint": []string{"/coredns"}, "Env": searchPath, "WorkingDir": "/",
			"ExposedPorts": map[string]any{"53/tcp": struct{}{}, "53/udp": struct{}{}},
		},
	},
	{
		name: "local-path-provisioner", repository: "docker.io/rancher/local-path-provisioner", component: "local-path-provisioner", base: true,
		config: map[string]any{"Cmd": []string{"local-path-provisioner"}, "Env": searchPath, "WorkingDir": "/"},
	},
	{
		name: "metrics-server", repository: "registry.k8s.io/metrics-server/metrics-server", component: "metrics-server", base: true,
		config: map[string]any{"User": "65534", "Entrypoint": []string{"/metrics-server"}, "Env": searchPath, "WorkingDir": "/"},
	},
	{
		// Upstream's storage manifest says "busybox", without a tag; the tag is the version of Debian's package.
		name: "busybox", repository: "docker.io/library/busybox", component: "busybox", base: true,
		config: map[string]any{"Cmd": []string{"sh"}, "Env": searchPath, "WorkingDir": "/"},
	},
}

func (b *build) imageDir(name string) string { return filepath.Join(b.work, "images", name) }

// images packs the images and puts them into a containerd root.
func (b *build) images(ctx context.Context) error {
	tagged := slices.Clone(images)
	for i := range tagged {
		if tagged[i].tag == "" {
			tagged[i].tag = b.componentVersion(tagged[i].component)
		}
		if err := b.describe(tagged[i]); err != nil {
			return err
		}
	}
	layout := filepath.Join(b.work, "layout")
	if err := b.tool(ctx, "images", ".", filepath.Join(b.work, "images"), layout); err != nil {
		return err
	}
	if err := b.tool(ctx, "containerd", "./root", layout, b.tree("containerd"), at+"/containerd", tagged[0].reference()); err != nil {
		return err
	}
	return b.keepLayout(layout, tagged)
}

// tool runs a program of a component's module, on this computer.
func (b *build) tool(ctx context.Context, component, source string, args ...string) error {
	dir := filepath.Join(b.source, "components", component)
	return b.command(ctx, dir, []string{"GOFLAGS=", "GOWORK=off", "CGO_ENABLED=0"}, "go", append([]string{"run", source}, args...)...)
}

func (i image) reference() string { return i.repository + ":" + i.tag }

func (b *build) componentVersion(name string) string {
	for _, c := range b.manifest.Components {
		if c.Name == name {
			return c.Version
		}
	}
	return ""
}

// describe writes image.json, which cmd images reads.
func (b *build) describe(i image) error {
	text, err := json.Marshal(map[string]any{
		"reference": i.reference(), "arch": b.arch, "created": b.date.Format(time.RFC3339), "base": i.base, "config": i.config,
	})
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(b.imageDir(i.name), "image.json"), text, 0o644)
}

// keepLayout puts the layout into the bundle without its layers, whose files the containerd root has, and enters the
// images into the manifest.
func (b *build) keepLayout(layout string, tagged []image) error {
	var index ociIndex
	if err := readJSON(filepath.Join(layout, "index.json"), &index); err != nil {
		return err
	}
	for _, entry := range index.Manifests {
		var manifest ociManifest
		if err := readJSON(blob(layout, entry.Digest), &manifest); err != nil {
			return err
		}
		for _, layer := range manifest.Layers {
			if err := os.Remove(blob(layout, layer.Digest)); err != nil {
				return err
			}
		}
		for _, image := range tagged {
			if reference := image.reference(); entry.Annotations["io.containerd.image.name"] == reference {
				b.manifest.Images = append(b.manifest.Images, bundle.Image{Name: image.name, Reference: reference, Digest: entry.Digest})
			}
		}
	}
	return os.Rename(layout, b.tree("images"))
}

// What is read of an OCI layout.
type (
	ociIndex struct {
		Manifests []ociDescriptor `json:"manifests"`
	}
	ociManifest struct {
		Layers []ociDescriptor `json:"layers"`
	}
	ociDescriptor struct {
		Digest      string            `json:"digest"` // "sha256:..."
		Annotations map[string]string `json:"annotations"`
	}
)

func blob(layout, digest string) string {
	return filepath.Join(layout, "blobs", strings.Replace(digest, ":", "/", 1))
}

func readJSON(path string, into any) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return json.Unmarshal(text, into)
}
