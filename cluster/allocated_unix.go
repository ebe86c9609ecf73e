//go:build unix

package cluster

import (
	"io/fs"
	"syscall"
)

// allocated is how many bytes of the disk a file takes.
func allocated(info fs.FileInfo) int64 {
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		return stat.Blocks * 512 // POSIX leaves the unit open; every system that Go runs on has 512
	}
	return info.Size()
}
