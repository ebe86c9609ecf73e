package qemu

import (
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// nextData returns the next part of a sparse file, at or after offset, that may have other content than zeros; io.EOF
// after the last.
func nextData(file *os.File, offset, size int64) (from, to int64, err error) {
	if from, err = file.Seek(offset, unix.SEEK_DATA); errors.Is(err, unix.ENXIO) {
		return 0, 0, io.EOF
	}
	if err == nil {
		to, err = file.Seek(from, unix.SEEK_HOLE)
	}
	if err != nil || to > size {
		return wholeRest(offset, size) // a file system that does not tell
	}
	return from, to, nil
}

// widen lets a pipe hold as much as an ordinary user's may, so that its ends wait less often for each other.
func widen(pipe *os.File) {
	const most = 1 << 20 // /proc/sys/fs/pipe-max-size by default; refused, the pipe works all the same
	unix.FcntlInt(pipe.Fd(), unix.F_SETPIPE_SZ, most)
}
