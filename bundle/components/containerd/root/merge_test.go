package main

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/metadata"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/identity"
)

// node is a containerd root that was made of a bundle and is in use, beside the bundle that is mounted now.
type node struct {
	t            *testing.T
	ctx          context.Context
	bundle, root string
}

func newNode(t *testing.T) *node {
	dir := t.TempDir()
	n := &node{t, namespaces.WithNamespace(t.Context(), namespace), filepath.Join(dir, "bundle"), filepath.Join(dir, "root")}
	return n
}

func (n *node) run(what string, err error) {
	n.t.Helper()
	if err != nil {
		n.t.Fatalf("%s: %v", what, err)
	}
}

// mount puts another bundle into the place of the one that is there: one image by that name, whose file has that text.
func (n *node) mount(name, text string) (chain string) {
	n.t.Helper()
	layout := n.t.TempDir()
	diff := writeImage(n.t, layout, name, text)
	n.run("remove the bundle", os.RemoveAll(n.bundle))
	n.run("make the bundle", run(n.ctx, layout, n.bundle, n.bundle, name))
	return identity.ChainID([]digest.Digest{diff}).String()
}

func (n *node) open() *store {
	n.t.Helper()
	s, err := openStore(n.ctx, n.root)
	n.run("open", err)
	return s
}

// images are the names of the images, and what is in their file.
func (n *node) images() map[string]string {
	n.t.Helper()
	s := n.open()
	defer s.close()
	if _, err := s.GarbageCollect(n.ctx); err != nil {
		n.t.Fatal(err)
	}
	found := map[string]string{}
	all, err := metadata.NewImageStore(s.DB).List(n.ctx)
	n.run("list", err)
	for _, image := range all {
		if !strings.Contains(image.Name, ":") || strings.Contains(image.Name, "sha256") {
			continue
		}
		var manifest struct {
			Config struct{ Digest digest.Digest }
		}
		n.run("manifest of "+image.Name, readBlob(n.ctx, s, image.Target, &manifest))
		info, err := s.ContentStore().Info(n.ctx, manifest.Config.Digest)
		n.run("configuration of "+image.Name, err)
		path, err := filesOf(n.ctx, s, info.Labels[labelSnapshot])
		n.run("files of "+image.Name, err)
		text, err := os.ReadFile(filepath.Join(path, "pause"))
		n.run("file of "+image.Name, err)
		found[image.Name] = string(text)
	}
	return found
}

func (n *node) has(want map[string]string) {
	n.t.Helper()
	have := n.images()
	if len(have) != len(want) {
		n.t.Errorf("there are %v, not %v", have, want)
	}
	for name, text := range want {
		if have[name] != text {
			n.t.Errorf("%s is %q, not %q", name, have[name], text)
		}
	}
}

func TestImagesOfAnotherBundleTakeThePlaceOfThose(t *testing.T) {
	n := newNode(t)
	old := n.mount("registry.k8s.io/dns:1", "one")
	n.run("copy the root", copyTree(filepath.Join(n.bundle, "root"), n.root))

	// Somebody pulls an image, and a container has used the bundle's.
	pulled := t.TempDir()
	writeImage(t, pulled, "example.test/mine:1", "mine")
	s := n.open()
	_, err := adopt(n.ctx, s, pulled, "")
	n.run("pull", err)
	_, err = s.Snapshotter(snapshotter).Prepare(n.ctx, "a container", old, snapshots.WithLabels(map[string]string{"containerd.io/gc.root": "now"}))
	n.run("make a container", err)
	n.run("close", s.close())
	n.has(map[string]string{"registry.k8s.io/dns:1": "one", "example.test/mine:1": "mine"})

	n.mount("registry.k8s.io/dns:2", "two")
	for range 2 {
		n.run("merge", merge(n.ctx, filepath.Join(n.bundle, "root"), n.root))
		n.has(map[string]string{"registry.k8s.io/dns:2": "two", "example.test/mine:1": "mine"})
	}
	// The same name with other files, and back to what was there first.
	for _, text := range []string{"three", "two"} {
		n.mount("registry.k8s.io/dns:2", text)
		n.run("merge", merge(n.ctx, filepath.Join(n.bundle, "root"), n.root))
		n.has(map[string]string{"registry.k8s.io/dns:2": text, "example.test/mine:1": "mine"})
	}
	n.mount("registry.k8s.io/dns:1", "one")
	n.run("merge", merge(n.ctx, filepath.Join(n.bundle, "root"), n.root))
	n.has(map[string]string{"registry.k8s.io/dns:1": "one", "example.test/mine:1": "mine"})

	s = n.open()
	defer s.close()
	records, err := metadata.NewImageStore(s.DB).List(n.ctx)
	n.run("list", err)
	if len(records) != 6 || !slices.ContainsFunc(records, func(r images.Image) bool { return r.Labels[labelPinned] == "pinned" }) {
		t.Error("three names of each image are expected, and the bundle's pinned:", records)
	}
	if entries, err := os.ReadDir(n.root); err != nil || slices.ContainsFunc(entries, func(e os.DirEntry) bool { return e.Name() == ".merge" }) {
		t.Error(entries, err)
	}
}
