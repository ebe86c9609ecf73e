package qemu

import (
	"bytes"
	"os"

	"github.com/dorykube/dory/internal/progress"
)

// memoryWriter puts pages where they belong in a sparse file, neighbours together.
type memoryWriter struct {
	file   *os.File
	buffer []byte
	start  int64 // of what is in the buffer
	end    int64 // of the last page in the file
	sum    checksum
	again  bool // pages came out of order, so that the checksum is not the file's
	seen   *progress.Counter
}

func (w *memoryWriter) page(offset int64, page []byte) error {
	if offset%chunk == 0 && w.seen != nil {
		w.seen.Reach(offset)
	}
	if offset < w.end {
		w.again = true
	} else if bytes.Equal(page, zeros[:pageSize]) {
		return nil
	}
	if len(w.buffer) == chunk || offset != w.start+int64(len(w.buffer)) {
		if err := w.flush(); err != nil {
			return err
		}
		w.start = offset
	}
	w.buffer = append(w.buffer, page...)
	w.end = max(w.end, offset+pageSize)
	w.sum.add(offset, page)
	return nil
}

func (w *memoryWriter) flush() error {
	_, err := w.file.WriteAt(w.buffer, w.start)
	w.buffer = w.buffer[:0]
	return err
}
