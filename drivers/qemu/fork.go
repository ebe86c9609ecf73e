//go:build !windows

package qemu

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/dorykube/dory/drivers"
	"github.com/dorykube/dory/internal/atomicfile"
	"github.com/dorykube/dory/internal/fail"
)

// Fork makes a machine out of a frozen one: its disk is an overlay, its memory the frozen file, copied page by page where
// it is written, and its devices' state is loaded.
func (d *Driver) Fork(ctx context.Context, m drivers.Machine, frozen string) (drivers.Status, error) {
	if err := check(m); err != nil {
		return drivers.Status{}, err
	}
	status, err := d.Status(ctx, m)
	if err != nil {
		return drivers.Status{}, err
	}
	if status.State != drivers.Absent {
		return drivers.Status{}, fmt.Errorf("fork machine %s: there is one already", m.Name)
	}
	b, err := d.qemu(ctx)
	if err != nil {
		return drivers.Status{}, err
	}
	snap, err := d.frozen(ctx, b, m, frozen)
	if err != nil {
		return drivers.Status{}, cannotFork(err, m, "")
	}
	status, err = d.fork(ctx, b, m, snap, frozen)
	if err != nil {
		err = errors.Join(err, d.Delete(context.WithoutCancel(ctx), m))
	}
	return status, err
}

// frozen reads the frozen machine and looks whether it can be forked as m.
func (d *Driver) frozen(ctx context.Context, b *binary, m drivers.Machine, dir string) (s snapshot, err error) {
	if s, err = frozenFiles(dir).read(ctx); err != nil {
		return s, err
	}
	if s.Key != snapshotKey(b, s.MachineType, s.choice, m) {
		return s, fmt.Errorf("it was frozen with another QEMU or other hardware: QEMU %s, on %s; now it is QEMU %s",
			s.QEMU, s.MachineType, b.Version)
	}
	disk, err := markOf(machineDir(dir).path(frozenDisk))
	if err == nil && disk != s.Disk {
		err = fmt.Errorf("its disk was changed: %s", machineDir(dir).path(frozenDisk))
	}
	return s, err
}

func (d *Driver) fork(ctx context.Context, b *binary, m drivers.Machine, snap snapshot, frozen string) (status drivers.Status, err error) {
	if frozen, err = filepath.Abs(frozen); err != nil {
		return status, err
	}
	dir, doing := machineDir(m.Dir), "fork machine "+m.Name
	if err := errors.Join(os.MkdirAll(m.Dir, 0o700), os.Chmod(m.Dir, 0o700)); err != nil {
		return status, hostError(err, doing)
	}
	if err := requireSpace(dir.path(overlayFile)); err != nil {
		return status, err
	}
	for _, step := range []func() error{
		func() error { return removeFile(dir.path(baseFile)) }, // of a fork that was interrupted
		func() error { // it is also this QEMU's newest
			return dir.writeVolatileJSON(hardwareFile, hardware{MachineType: snap.MachineType})
		},
		func() error { return linkOrCopy(machineDir(frozen).path(frozenDisk), dir.path(baseFile)) },
		func() error { return dir.makeOverlay(m.Disk) }, // the last: with it, the machine exists
	} {
		if err := step(); err != nil {
			return status, hostError(err, doing)
		}
	}
	synced := make(chan error, 1)
	go func() { synced <- atomicfile.SyncDir(m.Dir) }() // beside the boot: a disk may take its time
	s, err := d.setup(b, m, snap.choice)
	if err != nil {
		return status, err
	}
	s.Load, s.Memory = &snap, machineDir(frozen).path(frozenMemory)
	if err := dir.prepare(s, "is forked"); err != nil {
		return status, err
	}
	status, err = d.boot(ctx, b, s)
	if err == nil {
		err = hostError(<-synced, doing)
	}
	if fail.Is(err, fail.QEMUFailed) && ctx.Err() == nil {
		err = cannotFork(err, m, fail.As(err).Evidence)
	}
	return status, err
}

// Line connects to the socket behind the guest's port drivers.LineName.
func (d *Driver) Line(ctx context.Context, m drivers.Machine) (io.ReadWriteCloser, error) {
	conn, err := dialSocket(ctx, machineDir(m.Dir), lineFile)
	if err != nil {
		return nil, fmt.Errorf("connect to the line of machine %s: %w", m.Name, err)
	}
	return conn, nil
}

func cannotFork(err error, m drivers.Machine, evidence string) error {
	if evidence == "" {
		evidence = err.Error()
	}
	return fail.Wrap(fail.TemplateUnusable, err, "fork machine %s", m.Name).WithEvidence(evidence)
}
