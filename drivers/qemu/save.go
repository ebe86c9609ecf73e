//go:build !windows

package qemu

import (
	"bytes"
	"context"
	"errors"
	"os"

	"github.com/dorykube/dory/drivers"
	"github.com/dorykube/dory/internal/fail"
)

// Save writes the machine's memory into a sparse file, and its devices' state beside it, and ends its QEMU. The
// description, without which there is no saved machine, is written when QEMU has ended: nothing can change the disk then.
func (d *Driver) Save(ctx context.Context, m drivers.Machine) error {
	record, id, err := d.running(m, "save")
	if err != nil {
		return err
	}
	dir := machineDir(m.Dir)
	saved := dir.saved()
	s := record.snapshot()
	err = saved.remove() // of an attempt that was interrupted
	if err == nil {
		s.Media, err = mediaOf(m)
	}
	if err != nil {
		return hostError(err, "save machine "+m.Name)
	}
	if err := d.writeMemory(ctx, m, saved, &s); err != nil {
		saved.remove()
		if isNoSpace(err) {
			return hostError(err, "save machine "+m.Name)
		}
		return fail.Wrap(fail.QEMUFailed, err, "save machine %s", m.Name)
	}
	if err := d.end(ctx, m, id); err != nil {
		return err
	}
	if record.MemoryFile { // where it is already
		memory := dir.path(savedMemory)
		if err = os.Rename(dir.path(memoryFile), memory); err == nil {
			s.Memory, err = partOf(memory)
		}
	}
	if err == nil {
		err = syncFile(dir.disk()) // nothing to do, unless the machine is ephemeral
	}
	if err == nil {
		s.Disk, err = markOf(dir.disk())
	}
	if err == nil {
		err = saved.describe(s)
	}
	return hostError(errors.Join(err, dir.forgetProcess()), "save machine "+m.Name)
}

// writeMemory writes everything that takes space. A failure leaves the machine running.
func (d *Driver) writeMemory(ctx context.Context, m drivers.Machine, saved snapshotFiles, s *snapshot) error {
	path := saved.dir.path(saved.memory)
	file, err := emptyFile(path, m.Memory)
	if err != nil {
		return err
	}
	defer file.Close()
	w := &memoryWriter{file: file}
	err = d.writeOut(ctx, m, w.page, func(state []byte) error {
		s.state = state
		return errors.Join(w.flush(), saved.writeState(s))
	})
	if err != nil {
		return err
	}
	s.Memory = part{Size: m.Memory, Sum: w.sum}
	if w.again {
		s.Memory.Sum, err = sumFile(path)
	}
	return err
}

// memoryWriter puts pages where they belong in a sparse file, neighbours together.
type memoryWriter struct {
	file   *os.File
	buffer []byte
	start  int64 // of what is in the buffer
	end    int64 // of the last page in the file
	sum    checksum
	again  bool // pages came out of order, so that the checksum is not the file's
}

func (w *memoryWriter) page(offset int64, page []byte) error {
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
