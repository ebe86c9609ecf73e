package qemu

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/dorykube/dory/drivers"
)

// deletedSuffix is what proc(5) puts behind the name of a directory that was removed.
const deletedSuffix = " (deleted)"

// homeless looks for processes of this user whose working directory is gone, and was dir or below it.
func homeless(dir string) (found []drivers.Machine) {
	dir = resolved(dir)
	for _, pid := range ownProcesses() {
		was, err := os.Readlink(fmt.Sprintf("/proc/%d/cwd", pid))
		was, gone := strings.CutSuffix(was, deletedSuffix)
		if err != nil || !gone || was != dir && !strings.HasPrefix(was, dir+string(filepath.Separator)) {
			continue
		}
		if name, uuid := machineInArguments(argumentsOf(pid)); uuid != "" {
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
