// Command root makes a containerd root directory (/var/lib/containerd) in which images are already pulled and unpacked,
// from an OCI layout with uncompressed layers. It runs where the bundle is built, without root and without a daemon. On a
// node, 'root merge' gives a root that is in use the images of another bundle: merge.go.
//
// It leaves two directories: TO/root, to be copied to /var/lib/containerd (databases, manifests, configurations and
// symbolic links: small), and TO/snapshots, the images' files, which stay where the links point to (AT/snapshots).
// Layers are not kept beside their files, as with containerd's own discard_unpacked_layers.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/containerd/containerd/v2/core/metadata"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/core/snapshots/storage"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/containerd/v2/plugins/content/local"
	"github.com/containerd/containerd/v2/plugins/snapshots/overlay"
	bolt "go.etcd.io/bbolt"
)

// Where containerd's plugins keep their things, below its root.
const (
	metadataFile   = "io.containerd.metadata.v1.bolt/meta.db"
	contentDir     = "io.containerd.content.v1.content"
	snapshotterDir = "io.containerd.snapshotter.v1.overlayfs"
	snapshotter    = "overlayfs"
	namespace      = "k8s.io"
)

func main() {
	ctx := namespaces.WithNamespace(context.Background(), namespace)
	var err error
	switch {
	case len(os.Args) == 4 && os.Args[1] == "merge":
		err = merge(ctx, os.Args[2], os.Args[3])
	case len(os.Args) == 5:
		err = run(ctx, os.Args[1], os.Args[2], os.Args[3], os.Args[4])
	default:
		fmt.Fprintln(os.Stderr, "usage: root LAYOUT-DIR TO-DIR AT-DIR PINNED-IMAGE | root merge FROM-ROOT TO-ROOT")
		os.Exit(2)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "root:", err)
		os.Exit(1)
	}
}

// run fills to. at is where to will be on the node.
func run(ctx context.Context, layout, to, at, pinned string) error {
	root := filepath.Join(to, "root")
	store, err := openStore(ctx, root)
	if err != nil {
		return err
	}
	created, err := adopt(ctx, store, layout, pinned)
	if err != nil {
		return err
	}
	if err := store.close(); err != nil {
		return err
	}
	for _, db := range []string{metadataFile, snapshotterDir + "/metadata.db"} {
		if err := settle(filepath.Join(root, db), created); err != nil {
			return fmt.Errorf("%s: %w", db, err)
		}
	}
	return link(filepath.Join(root, snapshotterDir, "snapshots"), filepath.Join(to, "snapshots"), filepath.Join(at, "snapshots"))
}

// store is containerd's metadata over its content store and its overlayfs snapshotter, as the daemon has them.
type store struct {
	*metadata.DB
	snapshots *storage.MetaStore
}

func openStore(ctx context.Context, root string) (*store, error) {
	for _, dir := range []string{filepath.Dir(metadataFile), contentDir, snapshotterDir} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o711); err != nil {
			return nil, err
		}
	}
	content, err := local.NewStore(filepath.Join(root, contentDir))
	if err != nil {
		return nil, err
	}
	metastore, err := storage.NewMetaStore(filepath.Join(root, snapshotterDir, "metadata.db"))
	if err != nil {
		return nil, err
	}
	overlayfs, err := overlay.NewSnapshotter(filepath.Join(root, snapshotterDir), overlay.WithMetaStore(metastore))
	if err != nil {
		return nil, err
	}
	db, err := bolt.Open(filepath.Join(root, metadataFile), 0o644, nil)
	if err != nil {
		return nil, err
	}
	all := map[string]snapshots.Snapshotter{snapshotter: measured{overlayfs, metastore}}
	s := &store{metadata.NewDB(db, content, all), metastore}
	return s, s.Init(ctx)
}

func (s *store) close() error {
	if err := s.snapshots.Close(); err != nil {
		return err
	}
	return s.DB.Close()
}

// measured is the overlayfs snapshotter, but the usage that it notes is the sum of the files' sizes and not of the
// blocks they happen to take on the file system of the build.
type measured struct {
	snapshots.Snapshotter
	store *storage.MetaStore
}

func (m measured) Commit(ctx context.Context, name, key string, opts ...snapshots.Opt) error {
	mounts, err := m.Mounts(ctx, key)
	if err != nil {
		return err
	}
	usage, err := measure(mounts[0].Source)
	if err != nil {
		return err
	}
	return m.store.WithTransaction(ctx, true, func(ctx context.Context) error {
		_, err := storage.CommitActive(ctx, key, name, usage, opts...)
		return err
	})
}

func measure(dir string) (usage snapshots.Usage, err error) {
	err = filepath.Walk(dir, func(_ string, info os.FileInfo, err error) error {
		if err != nil {
			return err
		}
		usage.Inodes++
		if info.Mode().IsRegular() {
			usage.Size += info.Size()
		}
		return nil
	})
	return usage, err
}

// link moves each snapshot's files to files and leaves a symbolic link to where they will be on the node. The kernel
// follows it when a container's root is mounted; removing the image removes the link.
func link(snapshots, files, at string) error {
	entries, err := os.ReadDir(snapshots)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		id := entry.Name()
		if err := os.MkdirAll(filepath.Join(files, id), 0o755); err != nil {
			return err
		}
		from := filepath.Join(snapshots, id, "fs")
		if err := os.Rename(from, filepath.Join(files, id, "fs")); err != nil {
			return err
		}
		if err := os.Symlink(filepath.Join(at, id, "fs"), from); err != nil {
			return err
		}
		if err := os.RemoveAll(filepath.Join(snapshots, id, "work")); err != nil {
			return err
		}
	}
	return nil
}

// settle rewrites a closed database: compact, and with one time in place of the many of the build, so that the same
// images give the same bytes.
func settle(path string, at time.Time) error {
	stamp, err := at.UTC().MarshalBinary()
	if err != nil {
		return err
	}
	// Nothing here needs to survive a power cut.
	old, err := bolt.Open(path, 0o600, &bolt.Options{NoSync: true})
	if err != nil {
		return err
	}
	defer old.Close()
	err = old.Update(func(tx *bolt.Tx) error {
		return tx.ForEach(func(_ []byte, bucket *bolt.Bucket) error { return setTimes(bucket, stamp) })
	})
	if err != nil {
		return err
	}
	compact, err := bolt.Open(path+".new", 0o600, &bolt.Options{NoSync: true})
	if err != nil {
		return err
	}
	defer compact.Close()
	// A transaction of its own for each key: bolt writes the buckets that a transaction has touched in the order of a Go
	// map, which is another one every time.
	const bytesInTransaction = 1
	if err := bolt.Compact(compact, old, bytesInTransaction); err != nil {
		return err
	}
	if err := errors.Join(compact.Close(), old.Close()); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

func setTimes(bucket *bolt.Bucket, stamp []byte) error {
	for _, key := range []string{"createdat", "updatedat"} {
		if bucket.Get([]byte(key)) != nil {
			if err := bucket.Put([]byte(key), stamp); err != nil {
				return err
			}
		}
	}
	return bucket.ForEachBucket(func(key []byte) error { return setTimes(bucket.Bucket(key), stamp) })
}
