// Package home says where dory keeps its files: the XDG base directories, or everything below DORY_HOME.
package home

import (
	"os"
	"os/user"
	"path/filepath"
	"runtime"

	"github.com/adrg/xdg"
)

// Dirs are the three roots. They need not exist.
type Dirs struct {
	Config string // config.yaml: the user's defaults
	State  string // clusters: records, keys, machines
	Cache  string // artifacts, what is known of this computer; may be deleted at any time
	// Shared is the cache that artifacts are looked up in when Cache lacks them: the user's own, if DORY_HOME is set.
	// Artifacts are read-only and checked by digest, so sharing them ties no two homes together.
	Shared string
}

// Complete sets HOME where a service manager or a cron job has not, to what the list of users says: client-go and others would take
// the current directory for the user's own.
func Complete() {
	if os.Getenv("HOME") != "" || runtime.GOOS == "windows" {
		return
	}
	if me, err := user.Current(); err == nil && filepath.IsAbs(me.HomeDir) {
		os.Setenv("HOME", me.HomeDir)
		xdg.Reload()
	}
}

// Find returns the directories that the environment asks for.
func Find() Dirs {
	shared := filepath.Join(xdg.CacheHome, "dory")
	if root := os.Getenv("DORY_HOME"); root != "" {
		if abs, err := filepath.Abs(root); err == nil {
			root = abs
		}
		return Dirs{
			Config: filepath.Join(root, "config"),
			State:  filepath.Join(root, "state"),
			Cache:  filepath.Join(root, "cache"),
			Shared: shared,
		}
	}
	return Dirs{
		Config: filepath.Join(xdg.ConfigHome, "dory"),
		State:  filepath.Join(xdg.StateHome, "dory"),
		Cache:  shared,
		Shared: shared,
	}
}

// Artifact returns the path of a node image or bundle: in Cache, or else in Shared if it is there. If it is in neither,
// the path in Cache is returned.
func (d Dirs) Artifact(name string) string {
	own := filepath.Join(d.Cache, "artifacts", name)
	if _, err := os.Stat(own); err == nil || d.Shared == d.Cache {
		return own
	}
	if other := filepath.Join(d.Shared, "artifacts", name); exists(other) {
		return other
	}
	return own
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
