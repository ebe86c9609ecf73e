//go:build unix

package cmd

import (
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// What a caller has open is no child's, but for the program that takes dory's place.
func TestInherited(t *testing.T) {
	fd, err := syscall.Open(filepath.Join(t.TempDir(), "lock"), syscall.O_CREAT|syscall.O_RDWR, 0o600) // as a caller leaves it
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(fd)
	passedOn := func() bool {
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
		if err != nil {
			t.Fatal(err)
		}
		return flags&unix.FD_CLOEXEC == 0
	}
	keepInherited()
	if passedOn() {
		t.Error("a child has what the caller has open")
	}
	passInherited()
	if !passedOn() {
		t.Error("kubectl does not have what the caller has open")
	}
}
