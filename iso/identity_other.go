//go:build !linux && !darwin && !freebsd && !netbsd

package iso

import (
	"fmt"
	"io/fs"
)

// identity is what changes when a file's content does, as far as every platform tells.
func identity(info fs.FileInfo) string {
	return fmt.Sprintf("%d %d", info.Size(), info.ModTime().UnixNano())
}
