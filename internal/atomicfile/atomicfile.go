// Package atomicfile writes files that are, after any interruption, either the old or the new one, whole.
package atomicfile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
)

// Write replaces the file: beside its place first, on the disk before it is renamed, and the name on the disk before it
// returns. What path links to is replaced, and the link stays.
func Write(path string, content []byte, mode fs.FileMode) error {
	return replace(follow(path), content, mode, func(*os.File) error { return nil })
}

// WriteOver writes a file of the user's: like Write, but one that is there keeps its mode and its owner. Where that takes writing
// it in place, it is: a mount point cannot be replaced, and a file of somebody else's would become one's own. Directories
// that are missing are made. mode is for a new file.
func WriteOver(path string, content []byte, mode fs.FileMode) error {
	path = follow(path)
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return err
		}
		return replace(path, content, mode, func(*os.File) error { return nil })
	}
	if err != nil {
		return err
	}
	err = replace(path, content, info.Mode().Perm(), func(temp *os.File) error { return keepOwner(temp, info) })
	if errors.Is(err, syscall.EBUSY) || errors.Is(err, errOwner) {
		return overwrite(path, content)
	}
	return err
}

// errOwner: only root may give a file to somebody else.
var errOwner = errors.New("the owner of the file cannot be kept")

func replace(path string, content []byte, mode fs.FileMode, prepare func(*os.File) error) error {
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
	if err := errors.Join(err, prepare(temp), temp.Sync(), temp.Close()); err != nil {
		return err
	}
	if err := os.Rename(temp.Name(), path); err != nil {
		return err
	}
	return SyncDir(dir)
}

// overwrite writes a file in place, by one call: a reader sees the old content or the new one, but for the end of a longer old
// one for a moment. What it had comes back if there is no room for more.
func overwrite(path string, content []byte) error {
	old, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	file, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	put := func(content []byte) error {
		_, err := file.WriteAt(content, 0)
		return errors.Join(err, file.Truncate(int64(len(content))))
	}
	if err = put(content); err != nil {
		put(old)
	}
	return errors.Join(err, file.Sync(), file.Close())
}

// follow returns what a symbolic link leads to, whether it is there or not.
func follow(path string) string {
	for range 40 { // as many as Linux follows
		target, err := os.Readlink(path)
		if err != nil {
			break
		}
		if !filepath.IsAbs(target) {
			target = filepath.Join(filepath.Dir(path), target)
		}
		path = target
	}
	return path
}

// Sweep removes what calls of Write that were killed have left beside the file. Nobody may be writing it meanwhile.
func Sweep(path string) {
	dir, name := filepath.Split(follow(path))
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
