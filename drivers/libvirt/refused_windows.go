package libvirt

import (
	"errors"
	"syscall"

	"golang.org/x/sys/windows"
)

func refused(err error) bool { return errors.Is(err, windows.WSAECONNREFUSED) }

// cut: the connection ended in the middle of a call.
func cut(err error) bool {
	return errors.Is(err, windows.WSAECONNRESET) || errors.Is(err, syscall.EINVAL)
}
