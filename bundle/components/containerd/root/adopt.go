package main

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/metadata"
	"github.com/opencontainers/image-spec/identity"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Labels by which containerd's CRI plugin knows its images, and by which garbage collection finds what they need.
const (
	labelManaged  = "io.cri-containerd.image"  // managed
	labelPinned   = "io.cri-containerd.pinned" // pinned: never removed by the kubelet
	labelConfig   = "containerd.io/gc.ref.content.config"
	labelSnapshot = "containerd.io/gc.ref.snapshot." + snapshotter
)

// adopt puts every image of the layout into the store and returns the time of the newest.
func adopt(ctx context.Context, s *store, layout, pinned string) (newest time.Time, err error) {
	var index ocispec.Index
	if err := readJSON(filepath.Join(layout, "index.json"), &index); err != nil {
		return newest, err
	}
	for _, target := range index.Manifests {
		name := target.Annotations[images.AnnotationImageName]
		created, err := adoptImage(ctx, s, layout, name, target, name == pinned)
		if err != nil {
			return newest, fmt.Errorf("%s: %w", name, err)
		}
		if created.After(newest) {
			newest = created
		}
	}
	return newest, nil
}

func adoptImage(ctx context.Context, s *store, layout, name string, target ocispec.Descriptor, pinned bool) (created time.Time, err error) {
	var manifest ocispec.Manifest
	if err := readJSON(blob(layout, target), &manifest); err != nil {
		return created, err
	}
	var config ocispec.Image
	if err := readJSON(blob(layout, manifest.Config), &config); err != nil {
		return created, err
	}
	if len(manifest.Layers) != 1 || manifest.Layers[0].MediaType != ocispec.MediaTypeImageLayer {
		return created, errors.New("not a single uncompressed layer")
	}
	chain := identity.ChainID(config.RootFS.DiffIDs).String()
	if err := unpack(ctx, s, blob(layout, manifest.Layers[0]), chain); err != nil {
		return created, err
	}
	if err := writeBlob(ctx, s, layout, manifest.Config, map[string]string{labelSnapshot: chain}); err != nil {
		return created, err
	}
	if err := writeBlob(ctx, s, layout, target, map[string]string{labelConfig: manifest.Config.Digest.String()}); err != nil {
		return created, err
	}
	return *config.Created, record(ctx, s, name, target, manifest.Config, pinned)
}

// record names the image as a pull by CRI does: by tag, by digest, and by its configuration's digest, the image's ID.
func record(ctx context.Context, s *store, name string, target, config ocispec.Descriptor, pinned bool) error {
	repository := name[:strings.LastIndex(name, ":")]
	labels := map[string]string{labelManaged: "managed"}
	if pinned {
		labels[labelPinned] = "pinned"
	}
	target.Annotations, target.Platform = nil, nil
	records := metadata.NewImageStore(s.DB)
	for _, name := range []string{name, repository + "@" + target.Digest.String(), config.Digest.String()} {
		if _, err := records.Create(ctx, images.Image{Name: name, Target: target, Labels: labels}); err != nil {
			return err
		}
	}
	return nil
}

func writeBlob(ctx context.Context, s *store, layout string, d ocispec.Descriptor, labels map[string]string) error {
	text, err := os.ReadFile(blob(layout, d))
	if err != nil {
		return err
	}
	d.Annotations, d.Platform = nil, nil
	return content.WriteBlob(ctx, s.ContentStore(), d.Digest.String(), bytes.NewReader(text), d, content.WithLabels(labels))
}

// unpack writes the layer into a new snapshot named chain, directly into its directory: without a parent there is
// nothing to mount.
func unpack(ctx context.Context, s *store, layer, chain string) error {
	snapshots := s.Snapshotter(snapshotter)
	key := "unpack " + chain
	mounts, err := snapshots.Prepare(ctx, key, "")
	if err != nil {
		return err
	}
	if len(mounts) != 1 || mounts[0].Type != "bind" {
		return fmt.Errorf("the overlayfs snapshotter gave %v, not one directory", mounts)
	}
	f, err := os.Open(layer)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := untar(tar.NewReader(f), mounts[0].Source); err != nil {
		return err
	}
	return snapshots.Commit(ctx, chain, key)
}

// untar unpacks what cmd images packs: directories, files, symbolic links. Owners are left to whoever makes the bundle's
// file system, in which everything is root's.
func untar(archive *tar.Reader, to string) error {
	for {
		header, err := archive.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		path := filepath.Join(to, header.Name)
		mode := header.FileInfo().Mode()
		switch header.Typeflag {
		case tar.TypeDir:
			err = os.MkdirAll(path, 0o755)
		case tar.TypeSymlink:
			err = os.Symlink(header.Linkname, path)
		case tar.TypeReg:
			err = writeFile(path, archive)
		default:
			err = fmt.Errorf("%s: type %q is not known here", header.Name, header.Typeflag)
		}
		if err == nil && header.Typeflag != tar.TypeSymlink {
			err = os.Chmod(path, mode) // whatever the umask
		}
		if err != nil {
			return err
		}
	}
}

func writeFile(path string, from io.Reader) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, from)
	return errors.Join(err, f.Close())
}

func blob(layout string, d ocispec.Descriptor) string {
	return filepath.Join(layout, "blobs", d.Digest.Algorithm().String(), d.Digest.Encoded())
}

func readJSON(path string, into any) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return json.Unmarshal(text, into)
}

// chainOf is the snapshot with the files of the image whose configuration that is.
func chainOf(ctx context.Context, s *store, config ocispec.Descriptor) (string, error) {
	info, err := s.ContentStore().Info(ctx, config.Digest)
	if err != nil {
		return "", err
	}
	if info.Labels[labelSnapshot] == "" {
		return "", errors.New("no snapshot has its files")
	}
	return info.Labels[labelSnapshot], nil
}

func readBlob(ctx context.Context, s *store, d ocispec.Descriptor, into any) error {
	text, err := content.ReadBlob(ctx, s.ContentStore(), d)
	if err != nil {
		return err
	}
	return json.Unmarshal(text, into)
}
