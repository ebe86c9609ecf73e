package cluster

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/dorykube/dory/internal/fail"
	"github.com/gofrs/flock"
)

const (
	lockWait  = 3 * time.Second
	lockRetry = 50 * time.Millisecond
)

// lock is held by the one process that changes a cluster. The operating system lets go of it when the process ends,
// however it ends.
type lock struct {
	file *flock.Flock
	gone bool // removed or released
}

// acquire waits a moment for the lock, and otherwise says who holds it.
func acquire(ctx context.Context, path, verb string) (*lock, error) {
	return acquireWithin(ctx, path, verb, lockWait)
}

func acquireWithin(ctx context.Context, path, verb string, wait time.Duration) (*lock, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, hostError(err, "make the directory of clusters")
	}
	for began := time.Now(); ; {
		file := flock.New(path, flock.SetFlag(os.O_CREATE|os.O_RDWR), flock.SetPermissions(0o600))
		got, err := file.TryLock()
		if err != nil {
			return nil, hostError(err, "lock the cluster")
		}
		if got && current(file, path) {
			l := &lock{file: file}
			l.sign(verb)
			return l, nil
		}
		file.Close()
		if got {
			continue // the file was removed by a delete between opening and locking it
		}
		if time.Since(began) > wait {
			return nil, busy(path)
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(lockRetry):
		}
	}
}

// lockHeld reports whether a process holds the lock.
func lockHeld(path string) bool {
	if _, err := os.Stat(path); err != nil {
		return false
	}
	file := flock.New(path, flock.SetFlag(os.O_RDWR))
	defer file.Close()
	free, err := file.TryRLock()
	return err == nil && !free
}

// current reports whether the locked file is the one that has its name now.
func current(file *flock.Flock, path string) bool {
	locked, err := file.Stat()
	if err != nil {
		return false
	}
	named, err := os.Stat(path)
	return err == nil && os.SameFile(locked, named)
}

// sign writes into the file who holds it. It is for people: that it is held is the operating system's knowledge.
func (l *lock) sign(verb string) {
	os.WriteFile(l.file.Path(), fmt.Appendf(nil, "%d dory %s\n", os.Getpid(), verb), 0o600)
}

func (l *lock) release() {
	if l.gone {
		return
	}
	l.gone = true
	os.Truncate(l.file.Path(), 0)
	l.file.Close()
}

// remove removes the file while it is still held: whoever waits for it notices that it is gone, and makes another.
func (l *lock) remove() {
	if l.gone || os.Remove(l.file.Path()) != nil {
		l.release() // on Windows an open file stays; an empty one does no harm
		return
	}
	l.gone = true
	l.file.Close() // nothing by that name is ours any more
}

func busy(path string) error {
	name := strings.TrimSuffix(filepath.Base(path), lockSuffix)
	failure := fail.New(fail.ClusterBusy, "another dory works on cluster %q", name)
	text, _ := os.ReadFile(path)
	if pid, command, ok := strings.Cut(strings.TrimSpace(string(text)), " "); ok {
		failure = fail.New(fail.ClusterBusy, "cluster %q is held by '%s', process %s", name, command, pid)
	}
	return failure
}
