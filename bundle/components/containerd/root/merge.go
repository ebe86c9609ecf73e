package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/metadata"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/errdefs"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// merge gives the root to, which a containerd has used that does not run now, the images of the root from, which is another
// bundle's: they take the place of those that to has of an earlier bundle. What was pulled since stays as it is. Done again,
// it does nothing.
func merge(ctx context.Context, from, to string) error {
	// Opened, databases are written; and a bundle is read-only.
	scratch := filepath.Join(to, ".merge")
	defer os.RemoveAll(scratch)
	if err := errors.Join(os.RemoveAll(scratch), copyTree(from, scratch)); err != nil {
		return err
	}
	theirs, err := openStore(ctx, scratch)
	if err != nil {
		return err
	}
	defer theirs.close()
	ours, err := openStore(ctx, to)
	if err != nil {
		return err
	}
	defer ours.close()
	records, err := metadata.NewImageStore(theirs.DB).List(ctx)
	if err != nil {
		return err
	}
	files := filepath.Join(filepath.Dir(from), "snapshots") // where the bundle's links lead to
	gone := filepath.Join(to, "gone")                       // and those of images that no bundle has any more: empty
	if err := os.MkdirAll(gone, 0o700); err != nil {
		return err
	}
	if err := forgetLinks(filepath.Join(to, snapshotterDir, "snapshots"), files, gone); err != nil {
		return err
	}
	keep := map[string]bool{}
	for _, r := range records {
		keep[r.Name] = true
		if err := take(ctx, ours, theirs, r); err != nil {
			return fmt.Errorf("%s: %w", r.Name, err)
		}
	}
	return forgetImages(ctx, ours, keep, gone)
}

func copyTree(from, to string) error {
	out, err := exec.Command("cp", "-a", from, to).CombinedOutput()
	if err == nil {
		out, err = exec.Command("chmod", "-R", "u+w", to).CombinedOutput()
	}
	if err != nil {
		return fmt.Errorf("copy %s: %w: %s", from, err, out)
	}
	return nil
}

// forgetLinks makes every link into a bundle one to gone: the bundle that is there now may have other files by its name.
func forgetLinks(dir, files, gone string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		path := filepath.Join(dir, entry.Name(), "fs")
		if target, err := os.Readlink(path); err != nil || !strings.HasPrefix(target, files+"/") {
			continue
		}
		if err := relink(path, gone); err != nil {
			return err
		}
	}
	return nil
}

// relink makes path a link to target, in the place of a link or of an empty directory.
func relink(path, target string) error {
	if err := os.Remove(path); err != nil {
		return err
	}
	return os.Symlink(target, path)
}

// take puts an image of theirs into ours: its blobs, its files, its record.
func take(ctx context.Context, ours, theirs *store, image images.Image) error {
	var manifest ocispec.Manifest
	if err := readBlob(ctx, theirs, image.Target, &manifest); err != nil {
		return err
	}
	for _, blob := range []ocispec.Descriptor{manifest.Config, image.Target} {
		if err := takeBlob(ctx, ours, theirs, blob); err != nil {
			return err
		}
	}
	chain, err := chainOf(ctx, theirs, manifest.Config)
	if err != nil {
		return err
	}
	if err := takeSnapshot(ctx, ours, theirs, chain); err != nil {
		return err
	}
	records := metadata.NewImageStore(ours.DB)
	if _, err = records.Create(ctx, image); errdefs.IsAlreadyExists(err) {
		_, err = records.Update(ctx, image)
	}
	return err
}

func takeBlob(ctx context.Context, ours, theirs *store, d ocispec.Descriptor) error {
	info, err := theirs.ContentStore().Info(ctx, d.Digest)
	if err != nil {
		return err
	}
	text, err := content.ReadBlob(ctx, theirs.ContentStore(), d)
	if err != nil {
		return err
	}
	err = content.WriteBlob(ctx, ours.ContentStore(), d.Digest.String(), strings.NewReader(string(text)), d, content.WithLabels(info.Labels))
	if err != nil {
		return err
	}
	_, err = ours.ContentStore().Update(ctx, content.Info{Digest: d.Digest, Labels: info.Labels}) // of a blob that was there
	return err
}

// takeSnapshot has a snapshot of that name, whose files are those of the bundle, unless it has files of its own.
func takeSnapshot(ctx context.Context, ours, theirs *store, chain string) error {
	link, err := filesOf(ctx, theirs, chain)
	if err != nil {
		return err
	}
	target, err := os.Readlink(link)
	if err != nil {
		return err
	}
	path, err := filesOf(ctx, ours, chain)
	if errdefs.IsNotFound(err) {
		key := "merge " + chain
		ours.Snapshotter(snapshotter).Remove(ctx, key) // of one that was cut short
		if _, err := ours.Snapshotter(snapshotter).Prepare(ctx, key, ""); err != nil {
			return err
		}
		if err := ours.Snapshotter(snapshotter).Commit(ctx, chain, key); err != nil {
			return err
		}
		path, err = filesOf(ctx, ours, chain)
	}
	if err != nil {
		return err
	}
	if entries, err := os.ReadDir(path); err == nil && len(entries) > 0 {
		if _, err := os.Readlink(path); err != nil {
			return nil // somebody has pulled the same
		}
	}
	return relink(path, target)
}

// filesOf is the directory of a snapshot without a parent, or the link in its place.
func filesOf(ctx context.Context, s *store, chain string) (path string, err error) {
	key := "look at " + chain
	snap := s.Snapshotter(snapshotter)
	snap.Remove(ctx, key) // of a look that was cut short
	mounts, err := snap.View(ctx, key, chain)
	if err != nil {
		return "", err
	}
	if len(mounts) != 1 || mounts[0].Type != "bind" {
		err = fmt.Errorf("the overlayfs snapshotter gave %v, not one directory", mounts)
	} else {
		path = mounts[0].Source
	}
	return path, errors.Join(err, snap.Remove(ctx, key))
}

// forgetImages removes the records of images whose files are gone with their bundle. What they refer to, containerd's garbage
// collection removes when no container does any more.
func forgetImages(ctx context.Context, s *store, keep map[string]bool, gone string) error {
	records := metadata.NewImageStore(s.DB)
	all, err := records.List(ctx)
	if err != nil {
		return err
	}
	lost := map[string]bool{}
	err = s.Snapshotter(snapshotter).Walk(ctx, func(ctx context.Context, info snapshots.Info) error {
		if info.Kind != snapshots.KindCommitted || info.Parent != "" {
			return nil
		}
		lost[info.Name] = true // looked at below: a walk is a transaction
		return nil
	})
	if err != nil {
		return err
	}
	for chain := range lost {
		path, err := filesOf(ctx, s, chain)
		if err != nil {
			return err
		}
		if target, err := os.Readlink(path); err != nil || target != gone {
			delete(lost, chain)
		}
	}
	for _, image := range all {
		var manifest ocispec.Manifest
		if keep[image.Name] || readBlob(ctx, s, image.Target, &manifest) != nil {
			continue
		}
		if chain, err := chainOf(ctx, s, manifest.Config); err != nil || !lost[chain] {
			continue
		}
		if err := records.Delete(ctx, image.Name); err != nil {
			return err
		}
	}
	return nil
}
