package main

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/metadata"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/platforms"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/identity"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

const name = "registry.k8s.io/pause:1"

// writeLayout makes a layout with one image of one file, and returns the ID of its only diff.
func writeLayout(t *testing.T, dir string) digest.Digest { return writeImage(t, dir, name, "pause") }

func writeImage(t *testing.T, dir, name, text string) digest.Digest {
	t.Helper()
	put := func(content []byte) (digest.Digest, int64) {
		d := digest.FromBytes(content)
		path := filepath.Join(dir, "blobs/sha256", d.Encoded())
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, content, 0o644); err != nil {
			t.Fatal(err)
		}
		return d, int64(len(content))
	}
	putJSON := func(mediaType string, content any) ocispec.Descriptor {
		text, err := json.Marshal(content)
		if err != nil {
			t.Fatal(err)
		}
		d, size := put(text)
		return ocispec.Descriptor{MediaType: mediaType, Digest: d, Size: size}
	}
	var layer bytes.Buffer
	archive := tar.NewWriter(&layer)
	archive.WriteHeader(&tar.Header{Name: "tmp/", Mode: 0o1777, Typeflag: tar.TypeDir})                         //nolint:errcheck // to memory
	archive.WriteHeader(&tar.Header{Name: "pause", Mode: 0o755, Size: int64(len(text)), Typeflag: tar.TypeReg}) //nolint:errcheck
	archive.Write([]byte(text))                                                                                 //nolint:errcheck
	archive.WriteHeader(&tar.Header{Name: "link", Linkname: "pause", Typeflag: tar.TypeSymlink})                //nolint:errcheck
	archive.Close()                                                                                             //nolint:errcheck
	diff, size := put(layer.Bytes())
	created := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	config := putJSON(ocispec.MediaTypeImageConfig, ocispec.Image{
		Created: &created, Platform: platforms.DefaultSpec(),
		RootFS: ocispec.RootFS{Type: "layers", DiffIDs: []digest.Digest{diff}},
	})
	manifest := putJSON(ocispec.MediaTypeImageManifest, ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest, Config: config,
		Layers: []ocispec.Descriptor{{MediaType: ocispec.MediaTypeImageLayer, Digest: diff, Size: size}},
	})
	manifest.Annotations = map[string]string{images.AnnotationImageName: name}
	index, err := json.Marshal(ocispec.Index{Manifests: []ocispec.Descriptor{manifest}})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "index.json"), index, 0o644); err != nil {
		t.Fatal(err)
	}
	return diff
}

func makeRoot(t *testing.T) (ctx context.Context, to string, diff digest.Digest) {
	t.Helper()
	ctx = namespaces.WithNamespace(context.Background(), namespace)
	layout, to := t.TempDir(), t.TempDir()
	diff = writeLayout(t, layout)
	if err := run(ctx, layout, to, to, name); err != nil {
		t.Fatal(err)
	}
	return ctx, to, diff
}

// What a daemon would do with the root: find the image, its snapshot, and nothing to collect.
func TestRootIsWhatContainerdLeaves(t *testing.T) {
	ctx, to, diff := makeRoot(t)
	s, err := openStore(ctx, filepath.Join(to, "root"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	if _, err := s.GarbageCollect(ctx); err != nil {
		t.Fatal(err)
	}
	records, err := metadata.NewImageStore(s.DB).List(ctx)
	if err != nil || len(records) != 3 {
		t.Fatal("tag, digest and ID are expected:", records, err)
	}
	for _, r := range records {
		if r.Labels[labelManaged] != "managed" || r.Labels[labelPinned] != "pinned" || r.CreatedAt.Year() != 2026 {
			t.Error(r)
		}
		ok, _, present, _, err := images.Check(ctx, s.ContentStore(), r.Target, platforms.Default())
		if !ok || err != nil || len(present) != 1 {
			t.Error("configuration alone is expected:", ok, present, err)
		}
	}
	chain := identity.ChainID([]digest.Digest{diff}).String()
	mounts, err := s.Snapshotter(snapshotter).View(ctx, "a container", chain)
	if err != nil || len(mounts) != 1 {
		t.Fatal(mounts, err)
	}
	if content, err := os.ReadFile(filepath.Join(mounts[0].Source, "link")); err != nil || string(content) != "pause" {
		t.Error(string(content), err)
	}
	if info, err := os.Stat(filepath.Join(mounts[0].Source, "tmp")); err != nil || info.Mode().Perm() != 0o777 || info.Mode()&os.ModeSticky == 0 {
		t.Error(info.Mode(), err)
	}
}

func TestRemovedImageLeavesItsFiles(t *testing.T) {
	ctx, to, _ := makeRoot(t)
	s, err := openStore(ctx, filepath.Join(to, "root"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	store := metadata.NewImageStore(s.DB)
	records, err := store.List(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range records {
		if err := store.Delete(ctx, r.Name); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.GarbageCollect(ctx); err != nil {
		t.Fatal(err)
	}
	left, err := os.ReadDir(filepath.Join(to, "root", snapshotterDir, "snapshots"))
	if err != nil || len(left) != 0 {
		t.Error("snapshots are left:", left, err)
	}
	if _, err := os.Stat(filepath.Join(to, "snapshots/1/fs/pause")); err != nil {
		t.Error("the bundle's own file is gone:", err)
	}
}

func TestSameInputsSameBytes(t *testing.T) {
	_, a, _ := makeRoot(t)
	time.Sleep(time.Second / 100)
	_, b, _ := makeRoot(t)
	for _, db := range []string{metadataFile, snapshotterDir + "/metadata.db"} {
		first, errA := os.ReadFile(filepath.Join(a, "root", db))
		second, errB := os.ReadFile(filepath.Join(b, "root", db))
		if errA != nil || errB != nil || !bytes.Equal(first, second) {
			t.Error(db, "differs", errA, errB)
		}
	}
}
