package hostinfo

import (
	"os"
	"path/filepath"

	"github.com/dorykube/dory/internal/size"
)

// FreeSpace is what an ordinary user may still write to the file system that path is on, or will be on once it is made.
func FreeSpace(path string) (size.Size, error) {
	for {
		if _, err := os.Stat(path); err == nil || path == filepath.Dir(path) {
			break
		}
		path = filepath.Dir(path)
	}
	free, err := freeSpace(path)
	return size.Size(free), err
}
