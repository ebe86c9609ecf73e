package qemu

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/dorykube/dory/drivers"
	"github.com/dorykube/dory/internal/fail"
)

// Start boots the machine and returns when QEMU executes the guest and its host ports are known. A paused machine goes
// on.
func (d *Driver) Start(ctx context.Context, m drivers.Machine) (drivers.Status, error) {
	if err := check(m); err != nil {
		return drivers.Status{}, err
	}
	status, err := d.Status(ctx, m)
	if err == nil && status.Reason == loadingReason {
		// Its dory was killed meanwhile, and with it what QEMU waits for. What it loads from is still there.
		if err = d.endLoading(ctx, m); err == nil {
			status, err = d.Status(ctx, m)
		}
	}
	if err != nil {
		return drivers.Status{}, err
	}
	switch status.State {
	case drivers.Running:
		return status, nil
	case drivers.Paused:
		if err := d.Unpause(ctx, m); err != nil {
			return drivers.Status{}, err
		}
		return d.Status(ctx, m)
	case drivers.Unknown:
		return drivers.Status{}, fail.New(fail.QEMUFailed, "start machine %s: it runs, but does not answer", m.Name).
			WithEvidence(status.Reason).WithAdvice("'dory stop' ends it")
	case drivers.Absent:
		return drivers.Status{}, fmt.Errorf("start machine %s: it has not been created", m.Name)
	}
	b, err := d.qemu(ctx)
	if err != nil {
		return drivers.Status{}, err
	}
	status, why, err := d.resume(ctx, b, m)
	if err != nil || status.Resumed {
		return status, err
	}
	s, err := d.prepare(ctx, b, m)
	if err != nil {
		return drivers.Status{}, err
	}
	status, err = d.boot(ctx, b, s)
	status.NotResumed = why
	return status, err
}

// prepare works out the command line of a boot and puts everything in place that QEMU will read.
func (d *Driver) prepare(ctx context.Context, b *binary, m drivers.Machine) (s setup, err error) {
	chooser, err := d.chooserFor(b, m.Image)
	if err != nil {
		return s, err
	}
	chosen, err := chooser.choose(ctx, wishOf(m))
	if err != nil {
		return s, err
	}
	d.options.Log.Debug("chose the accelerator", "machine", m.Name, "accel", chosen.Accel, "model", chosen.Model, "reason", chosen.Reason)
	if s, err = d.setup(b, m, chosen); err != nil {
		return s, err
	}
	dir := machineDir(m.Dir)
	if m.Freezable {
		if err := requireRoom(m); err != nil {
			return s, err
		}
	}
	return s, dir.prepare(s, "boots")
}

// setup works out what QEMU is to be on this accelerator.
func (d *Driver) setup(b *binary, m drivers.Machine, chosen choice) (s setup, err error) {
	if m.Bundle != "" && !exists(m.Bundle) {
		return s, fail.New(fail.ArtifactMissing, "start machine %s: there is no bundle %s", m.Name, m.Bundle)
	}
	boot, err := d.takeOutKernel(m.Image)
	if err != nil {
		return s, err
	}
	b.remember(d.options.cache())
	s = setup{
		Machine:     m,
		MachineType: hardwareOf(m, b).MachineType,
		choice:      chosen,
		Sandbox:     b.Sandbox,
		Boot:        boot,
		Overlay:     exists(machineDir(m.Dir).path(overlayFile)),
	}
	if _, err := KernelCmdline(boot.Cmdline, chosen.Accel, m, UserNetwork); err != nil {
		return s, fail.Wrap(fail.BadValue, err, "start machine %s", m.Name)
	}
	return s, nil
}

// prepare puts everything in place that QEMU will read. does is what the machine does next.
func (dir machineDir) prepare(s setup, does string) error {
	// Its guest would be told of a broken disk.
	if largest := largestFile(); largest < s.Machine.Disk {
		return fail.New(fail.DiskTooMuch, "start machine %s: its disk may grow to %d MiB, and no file may be larger than %d KiB here",
			s.Machine.Name, s.Machine.Disk>>20, largest>>10).WithAdvice("raise the limit on the size of files, which 'ulimit -f' shows, or choose a smaller --disk-size")
	}
	err := errors.Join(
		removeFile(dir.path(processFile)), // of a process that has ended
		dir.keepHardware(hardware{MachineType: s.MachineType}),
		dir.openConsole(s.Machine, does, s.choice, time.Now()),
	)
	return hostError(err, "start machine "+s.Machine.Name)
}

// boot starts QEMU. A host port that was only preferred and is taken is replaced by one that QEMU chooses.
func (d *Driver) boot(ctx context.Context, b *binary, s setup) (drivers.Status, error) {
	s.Machine.Forwards = slices.Clone(s.Machine.Forwards)
	for {
		status, err := d.launch(ctx, b, s)
		var ended *endedError
		if !errors.As(err, &ended) {
			return status, err
		}
		port := refusedPort(ended.stderr)
		i := slices.IndexFunc(s.Machine.Forwards, func(f drivers.Forward) bool { return f.Host == port && f.Prefer })
		if port == 0 || i < 0 {
			return drivers.Status{}, ended.failure(s)
		}
		d.options.Log.Debug("a preferred port is taken", "machine", s.Machine.Name, "port", port)
		s.Machine.Forwards[i].Host = 0
	}
}

// endLoading ends a QEMU that has not executed the guest yet.
func (d *Driver) endLoading(ctx context.Context, m drivers.Machine) error {
	if id, err := findProcess(m); err == nil {
		if err := kill(ctx, m, id); err != nil {
			return err
		}
	}
	return machineDir(m.Dir).forgetProcess()
}
