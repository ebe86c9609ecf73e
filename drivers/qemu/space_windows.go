package qemu

import (
	"errors"
	"path/filepath"

	"golang.org/x/sys/windows"
)

func freeSpace(path string) (int64, error) {
	dir, err := windows.UTF16PtrFromString(filepath.Dir(path))
	if err != nil {
		return 0, err
	}
	var free uint64
	if err := windows.GetDiskFreeSpaceEx(dir, &free, nil, nil); err != nil {
		return 0, err
	}
	return int64(free), nil
}

func isNoSpace(err error) bool { return errors.Is(err, windows.ERROR_DISK_FULL) }
