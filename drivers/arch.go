package drivers

import (
	"path/filepath"
	"strings"
)

// ArchOf is the architecture, as Go names it, that a node image or a bundle is for, by its file's name; empty: the name does not say.
func ArchOf(artifact string) string {
	name := filepath.Base(artifact)
	name = strings.TrimSuffix(name, filepath.Ext(name))
	for _, arch := range []string{"amd64", "arm64"} {
		if strings.HasSuffix(name, "-"+arch) {
			return arch
		}
	}
	return ""
}

// ForArch is the path of the same artifact for another architecture.
func ForArch(artifact, arch string) string {
	dir, name := filepath.Split(artifact)
	return dir + strings.Replace(name, "-"+ArchOf(artifact)+".", "-"+arch+".", 1)
}
