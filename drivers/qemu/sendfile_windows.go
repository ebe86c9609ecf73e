package qemu

import (
	"context"
	"errors"
	"os"
)

// giveFile: a socket of Windows cannot carry a file. The driver has no Freezer, Forker and Saver there.
func (q *monitor) giveFile(context.Context, string, *os.File) error {
	return errors.New("QEMU cannot be given a file on this system")
}
