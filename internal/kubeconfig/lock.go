package kubeconfig

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"github.com/dorykube/dory/internal/fail"
	"github.com/gofrs/flock"
)

const (
	lockWait  = 5 * time.Second
	lockRetry = 20 * time.Millisecond
	// stale is the age at which a lock has surely been left behind: who holds one, writes a small file and is done.
	stale = 30 * time.Second
)

// lockAll takes client-go's lock of each file: the presence of FILE.lock. client-go gives up at once if it is taken and
// never removes one that was left behind; this waits a moment, and does.
func lockAll(paths []string) (unlock func(), err error) {
	var held []func()
	unlock = func() {
		for _, release := range held {
			release()
		}
	}
	sorted := slices.Sorted(slices.Values(paths)) // in client-go's order, so that nobody waits for each other
	for _, path := range slices.Compact(sorted) {
		_, dirErr := os.Stat(filepath.Dir(path))
		if errors.Is(dirErr, fs.ErrNotExist) {
			if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
				unlock()
				return nil, fail.Wrap(fail.KubeconfigBad, err, "make the directory of the kubeconfig %s", path)
			}
		}
		release, err := lock(path + ".lock")
		if err != nil {
			unlock()
			return nil, fail.Wrap(fail.KubeconfigBad, err, "lock the kubeconfig %s", path).
				WithAdvice("if no kubectl and no dory is at work, remove %s.lock", path)
		}
		held = append(held, release)
	}
	return unlock, nil
}

func lock(path string) (release func(), err error) {
	for began := time.Now(); ; time.Sleep(lockRetry) {
		f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL, 0o600)
		if err == nil {
			return sign(path), f.Close()
		}
		if !errors.Is(err, fs.ErrExist) {
			return nil, err
		}
		if removeAbandoned(path) {
			continue
		}
		if time.Since(began) > lockWait {
			return nil, err
		}
	}
}

// signature is what a lock contains that a dory holds. The operating system's own lock of the file, which the process holds
// as long as it lives, then tells whether it was killed meanwhile. Windows removes no file that is open: there, age tells.
const signature = "dory\n"

func sign(path string) (release func()) {
	if runtime.GOOS == "windows" {
		return func() { os.Remove(path) }
	}
	file := flock.New(path, flock.SetFlag(os.O_RDWR))
	if got, err := file.TryLock(); err == nil && got {
		os.WriteFile(path, []byte(signature), 0o600) // unsigned, age tells
	}
	return func() {
		os.Remove(path) // while it is held: nobody takes it for abandoned
		file.Close()
	}
}

// removeAbandoned removes a lock whose dory was killed, or that has been there for too long. Of many that try, one succeeds, and
// never with the lock that somebody has made after that: who removes it holds the system's lock of the very file.
func removeAbandoned(path string) bool {
	if runtime.GOOS == "windows" {
		info, err := os.Stat(path)
		return err == nil && time.Since(info.ModTime()) > stale && os.Remove(path) == nil
	}
	file := flock.New(path, flock.SetFlag(os.O_RDWR))
	defer file.Close()
	if got, err := file.TryLock(); err != nil || !got {
		return false
	}
	locked, err := file.Stat()
	if err != nil {
		return false
	}
	text, err := os.ReadFile(path)
	if err != nil || string(text) != signature && time.Since(locked.ModTime()) <= stale {
		return false
	}
	named, err := os.Stat(path) // it may be gone, and another be there
	return err == nil && os.SameFile(locked, named) && os.Remove(path) == nil
}
