//go:build !windows

package qemu

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/dorykube/dory/drivers"
	"github.com/dorykube/dory/internal/fail"
)

// Freeze writes the devices' state of a machine whose memory is in a file, ends its QEMU, and moves memory, state and disk
// into dir, which has that name only when everything is in it.
func (d *Driver) Freeze(ctx context.Context, m drivers.Machine, dir string) error {
	if exists(dir) {
		return fmt.Errorf("freeze machine %s: there is already %s", m.Name, dir)
	}
	machine := machineDir(m.Dir)
	record, id, err := d.running(m, "freeze")
	if err != nil {
		return err
	}
	if !record.MemoryFile || exists(machine.path(overlayFile)) {
		return fmt.Errorf("freeze machine %s: its memory is not in a file, or it is itself a fork", m.Name)
	}
	s := record.snapshot()
	err = d.writeOut(ctx, m, func(int64, []byte) error {
		return errors.New("the memory is not where it should be")
	}, func(state []byte) error {
		s.state = state
		return nil
	})
	if err != nil {
		return writeFailure(ctx, err, "freeze machine "+m.Name)
	}
	if err := d.end(ctx, m, id); err != nil {
		return err
	}
	temp := dir + tempSuffix
	err = makePrivateDir(temp, frozenMemory, frozenState, frozenDisk, frozenMeta)
	if err == nil {
		if err = d.moveFrozen(ctx, machine, temp, s); err == nil {
			err = os.Rename(temp, dir)
		}
		if err != nil {
			os.Rename(machineDir(temp).path(frozenDisk), machine.path(diskFile)) // it boots again
			os.RemoveAll(temp)
		}
	}
	return hostError(errors.Join(err, machine.forgetProcess()), "freeze machine "+m.Name)
}

// writeFailure is what a user is told of a state that could not be written.
func writeFailure(ctx context.Context, err error, doing string) error {
	if ctx.Err() != nil || isNoSpace(err) {
		return hostError(err, doing)
	}
	return fail.Wrap(fail.QEMUFailed, err, "%s", doing)
}

// moveFrozen moves what is to be frozen into dir.
func (d *Driver) moveFrozen(ctx context.Context, machine machineDir, dir string, s snapshot) error {
	files := frozenFiles(dir)
	if err := os.Rename(machine.path(memoryFile), files.dir.path(files.memory)); err != nil {
		return err
	}
	var err error
	if s.Memory, err = partOf(ctx, files.dir.path(files.memory)); err != nil {
		return err
	}
	disk := files.dir.path(frozenDisk)
	if err := os.Rename(machine.path(diskFile), disk); err != nil {
		return err
	}
	if s.Disk, err = markOf(disk); err != nil {
		return err
	}
	if err := files.writeState(&s); err != nil {
		return err
	}
	return files.describe(s)
}

// running is what is needed to take a running machine apart.
func (d *Driver) running(m drivers.Machine, verb string) (record bootRecord, id identity, err error) {
	if id, err = findProcess(m); err != nil {
		return record, id, fail.New(fail.ClusterNotUp, "%s machine %s: it does not run", verb, m.Name)
	}
	if err := machineDir(m.Dir).readJSON(bootFile, &record); err != nil || record.Key == "" {
		return record, id, fmt.Errorf("%s machine %s: it is not known how it was started (%v)", verb, m.Name, err)
	}
	return record, id, nil
}

// end ends the QEMU of a machine whose state has been written.
func (d *Driver) end(ctx context.Context, m drivers.Machine, id identity) error {
	ctx = context.WithoutCancel(ctx) // a moment more, and the work is not lost
	if !quit(ctx, machineDir(m.Dir), id) {
		return kill(ctx, m, id)
	}
	return nil
}

// snapshot begins the description of a machine that was started like this.
func (r bootRecord) snapshot() snapshot {
	return snapshot{choice: r.choice, QEMU: r.QEMU, MachineType: r.MachineType, Key: r.Key}
}

func partOf(ctx context.Context, path string) (p part, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return p, err
	}
	p.Size = info.Size()
	p.Sum, err = sumFile(ctx, path)
	return p, err
}
