package qemu

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/dorykube/dory/drivers"
)

// deletedSuffix is what proc(5) puts behind the name of a directory that was removed.
const deletedSuffix = " (deleted)"

// homeless looks for processes of this user whose working directory is gone, and was dir or below it.
func homeless(dir string) (found []drivers.Machine) {
	dir = resolved(dir)
	entries, _ := os.ReadDir("/proc")
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		was, err := os.Readlink(fmt.Sprintf("/proc/%d/cwd", pid)) // not told of other users' processes, but to root
		was, gone := strings.CutSuffix(was, deletedSuffix)
		if err != nil || !gone || was != dir && !strings.HasPrefix(was, dir+string(filepath.Separator)) || !mine(pid) {
			continue
		}
		content, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if err != nil {
			continue
		}
		if name, uuid := machineInArguments(strings.Split(string(content), "\x00")); uuid != "" {
			found = append(found, drivers.Machine{Name: name, UUID: uuid, Dir: was})
		}
	}
	return found
}

// resolved is the directory without symbolic links, as far as it is still there.
func resolved(dir string) string {
	for there, rest := dir, ""; ; there, rest = filepath.Dir(there), filepath.Join(filepath.Base(there), rest) {
		if real, err := filepath.EvalSymlinks(there); err == nil {
			return filepath.Join(real, rest)
		}
		if there == filepath.Dir(there) {
			return dir
		}
	}
}
