package qemu

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// throughShortPath calls use with a path to a socket in the directory that is short enough. The kernel resolves it through an
// open descriptor of the directory, so that nothing is left behind however dory ends.
func throughShortPath(dir machineDir, name string, use func(path string) error) error {
	if path := dir.path(name); len(path) <= longestSocketPath {
		return use(path)
	}
	fd, err := unix.Open(string(dir), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return use(fmt.Sprintf("/proc/self/fd/%d/%s", fd, name))
}
