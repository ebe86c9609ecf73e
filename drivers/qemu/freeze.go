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

// Freeze writes the memory and the devices' state of a machine, ends its QEMU, and moves its disk to them into dir, which has that
// name only when everything is in it. Memory is written then, rather than kept in a file from the boot on: pages of a file are
// small, those of memory of QEMU's own are large, and an emulated guest takes twice as long with small ones.
func (d *Driver) Freeze(ctx context.Context, m drivers.Machine, dir string) error {
	doing := "freeze machine " + m.Name
	if exists(dir) {
		return fmt.Errorf("%s: there is already %s", doing, dir)
	}
	machine := machineDir(m.Dir)
	record, id, err := d.running(m, "freeze")
	if err != nil {
		return err
	}
	if exists(machine.path(overlayFile)) {
		return fmt.Errorf("%s: it is itself a fork", doing)
	}
	temp := dir + tempSuffix
	if err := makePrivateDir(temp, frozenMemory, frozenState, frozenDisk, frozenMeta); err != nil {
		return hostError(err, doing)
	}
	s := record.snapshot()
	if err := d.writeMemory(ctx, m, frozenFiles(temp), &s); err != nil {
		os.RemoveAll(temp)
		return writeFailure(ctx, err, doing)
	}
	if err := d.end(ctx, m, id); err != nil {
		return err
	}
	if err = moveFrozen(machine, temp, s); err == nil {
		err = os.Rename(temp, dir)
	}
	if err != nil {
		os.Rename(machineDir(temp).path(frozenDisk), machine.path(diskFile)) // it boots again
		os.RemoveAll(temp)
	}
	return hostError(errors.Join(err, machine.forgetProcess()), doing)
}

// writeFailure is what a user is told of a state that could not be written.
func writeFailure(ctx context.Context, err error, doing string) error {
	if ctx.Err() != nil || isNoSpace(err) {
		return hostError(err, doing)
	}
	return fail.Wrap(fail.QEMUFailed, err, "%s", doing)
}

// moveFrozen moves the disk into dir, and describes what is there.
func moveFrozen(machine machineDir, dir string, s snapshot) (err error) {
	disk := machineDir(dir).path(frozenDisk)
	if err := os.Rename(machine.path(diskFile), disk); err != nil {
		return err
	}
	if s.Disk, err = markOf(disk); err != nil {
		return err
	}
	return frozenFiles(dir).describe(s)
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
