//go:build linux || darwin || freebsd || netbsd

package iso

import (
	"fmt"
	"io/fs"
	"syscall"
)

// identity is what changes when a file's content does: replaced, it is another inode, written to, it has another ctime.
func identity(info fs.FileInfo) string {
	st := info.Sys().(*syscall.Stat_t)
	return fmt.Sprintf("%d:%d %d %d %d", st.Dev, st.Ino, info.Size(), info.ModTime().UnixNano(), changed(st))
}
