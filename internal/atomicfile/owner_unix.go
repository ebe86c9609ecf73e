//go:build unix

package atomicfile

import (
	"io/fs"
	"os"
	"syscall"
)

// keepOwner gives the file the owner and the group that info tells of.
func keepOwner(file *os.File, info fs.FileInfo) error {
	has, err := file.Stat()
	if err != nil {
		return err
	}
	now, ok := has.Sys().(*syscall.Stat_t)
	wanted, ok2 := info.Sys().(*syscall.Stat_t)
	if !ok || !ok2 || now.Uid == wanted.Uid && now.Gid == wanted.Gid {
		return nil
	}
	if file.Chown(int(wanted.Uid), int(wanted.Gid)) != nil {
		return errOwner
	}
	return file.Chmod(info.Mode().Perm()) // a change of owner may take bits of it
}
