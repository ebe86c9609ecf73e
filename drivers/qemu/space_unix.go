//go:build !windows

package qemu

import (
	"errors"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// freeSpace is what an ordinary user may still write to the file system that path will be on.
func freeSpace(path string) (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(filepath.Dir(path), &st); err != nil {
		return 0, err
	}
	return int64(st.Bavail) * int64(st.Bsize), nil
}

func isNoSpace(err error) bool {
	return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) || errors.Is(err, unix.EFBIG)
}
