package main

import (
	"os"
	"path/filepath"

	"github.com/gofrs/flock"
)

// workPattern are the names of directories for intermediate files, some gigabytes each.
const workPattern = ".bundle-work-*"

// makeWork makes a directory for intermediate files in dir, and removes those of builds that were killed: a build holds the
// lock of its own until it ends.
func makeWork(dir string) (work string, remove func(), err error) {
	left, _ := filepath.Glob(filepath.Join(dir, workPattern))
	for _, path := range left {
		lock := lockOf(path)
		if free, err := lock.TryLock(); err == nil && free {
			os.RemoveAll(path)
		}
		lock.Close()
	}
	if work, err = os.MkdirTemp(dir, workPattern); err != nil {
		return "", nil, err
	}
	lock := lockOf(work)
	remove = func() {
		os.RemoveAll(work)
		lock.Close()
	}
	if err := lock.Lock(); err != nil {
		remove()
		return "", nil, err
	}
	return work, remove, nil
}

// lockOf is of the directory itself, which can only be opened for reading.
func lockOf(dir string) *flock.Flock { return flock.New(dir, flock.SetFlag(os.O_RDONLY)) }
