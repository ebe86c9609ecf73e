//go:build !windows

package qemu

import (
	"context"
	"errors"

	"github.com/dorykube/dory/drivers"
	"github.com/dorykube/dory/internal/progress"
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
		return writeFailure(ctx, err, "save machine "+m.Name)
	}
	if err := d.end(ctx, m, id); err != nil {
		return err
	}
	if s.Disk, err = markOf(dir.disk()); err == nil {
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
	// QEMU writes all pages in their order, zeros too, so that the last one's place says how much is done.
	w := &memoryWriter{file: file, seen: progress.Count(ctx, progress.Transfer{Name: "memory", Title: "Saving memory", Total: m.Memory})}
	// Where there is no room for it, the guest, which goes on in a moment, needs what room there was.
	giveBack := func(err error) error {
		if err != nil {
			file.Truncate(0)
		}
		return err
	}
	err = d.writeOut(ctx, m, func(offset int64, page []byte) error {
		return giveBack(w.page(offset, page))
	}, func(state []byte) error {
		s.state = state
		w.seen.End()
		err := w.flush()
		if err == nil {
			err = saved.writeState(s)
		}
		return giveBack(err)
	})
	if err != nil {
		return err
	}
	s.Memory = part{Size: m.Memory, Sum: w.sum}
	if w.again {
		s.Memory.Sum, err = sumFile(ctx, path)
	}
	return err
}
