//go:build unix

package cmd

import (
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// inherited are the descriptors that dory's caller had open, besides the standard streams.
var inherited []int

// keepInherited keeps them from every child: a virtual machine that had a caller's lock or the end of its pipe would hold it for
// as long as it runs. It must come before anything else opens a file; Go itself opens the standard streams if they are closed.
func keepInherited() {
	entries, err := os.ReadDir("/dev/fd")
	if err != nil {
		return // a sandbox without /dev
	}
	for _, entry := range entries {
		fd, err := strconv.Atoi(entry.Name())
		if err != nil || fd <= 2 {
			continue
		}
		if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil && flags&unix.FD_CLOEXEC == 0 {
			unix.CloseOnExec(fd)
			inherited = append(inherited, fd)
		}
	}
}

// passInherited lets a program have them that takes dory's place: 'kubectl apply -f <(...)' names one.
func passInherited() {
	for _, fd := range inherited {
		unix.FcntlInt(uintptr(fd), unix.F_SETFD, 0)
	}
}
