package kubeconfig

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/dorykube/dory/internal/fail"
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
	var held []string
	unlock = func() {
		for _, path := range held {
			os.Remove(path)
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
		if err := lock(path + ".lock"); err != nil {
			unlock()
			return nil, fail.Wrap(fail.KubeconfigBad, err, "lock the kubeconfig %s", path).
				WithAdvice("if no kubectl and no dory is at work, remove %s.lock", path)
		}
		held = append(held, path+".lock")
	}
	return unlock, nil
}

func lock(path string) error {
	for began := time.Now(); ; time.Sleep(lockRetry) {
		f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL, 0o600)
		if err == nil {
			return f.Close()
		}
		if !errors.Is(err, fs.ErrExist) {
			return err
		}
		if info, statErr := os.Stat(path); statErr == nil && time.Since(info.ModTime()) > stale {
			os.Remove(path)
			continue
		}
		if time.Since(began) > lockWait {
			return err
		}
	}
}
