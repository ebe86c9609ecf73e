// Package atomicfile writes files that are, after any interruption, either the old or the new one, whole.
package atomicfile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// Write replaces the file: beside its place first, on the disk before it is renamed, and the name on the disk before it
// returns. What path links to is replaced, and the link stays.
func Write(path string, content []byte, mode fs.FileMode) error {
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target
	}
	dir := filepath.Dir(path)
	temp, err := os.CreateTemp(dir, "."+filepath.Base(path)+".*.tmp")
	if err != nil {
		return err
	}
	defer os.Remove(temp.Name()) // after the rename there is nothing to remove
	_, err = temp.Write(content)
	if runtime.GOOS != "windows" {
		err = errors.Join(err, temp.Chmod(mode))
	}
	if err := errors.Join(err, temp.Sync(), temp.Close()); err != nil {
		return err
	}
	if err := os.Rename(temp.Name(), path); err != nil {
		return err
	}
	return SyncDir(dir)
}

// Sweep removes what calls of Write that were killed have left beside the file. Nobody may be writing it meanwhile.
func Sweep(path string) {
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target
	}
	dir, name := filepath.Split(path)
	entries, _ := os.ReadDir(filepath.Clean(dir))
	for _, entry := range entries {
		if strings.HasPrefix(entry.Name(), "."+name+".") && strings.HasSuffix(entry.Name(), ".tmp") {
			os.Remove(dir + entry.Name())
		}
	}
}

// SyncDir makes renames, creations and removals in a directory outlive a power cut.
func SyncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil // NTFS journals them; a directory cannot be opened for it
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
