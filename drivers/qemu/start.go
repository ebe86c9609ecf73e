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
	s, b, err := d.prepare(ctx, m)
	if err != nil {
		return drivers.Status{}, err
	}
	return d.boot(ctx, b, s)
}

// prepare works out the command line and puts everything in place that QEMU will read.
func (d *Driver) prepare(ctx context.Context, m drivers.Machine) (s setup, b *binary, err error) {
	if b, err = d.qemu(ctx); err != nil {
		return s, nil, err
	}
	dir := machineDir(m.Dir)
	if m.Bundle != "" && !exists(m.Bundle) {
		return s, nil, fail.New(fail.ArtifactMissing, "start machine %s: there is no bundle %s", m.Name, m.Bundle)
	}
	chooser, err := d.chooserFor(b, m.Image)
	if err != nil {
		return s, nil, err
	}
	chosen, err := chooser.choose(ctx, m.Accel)
	if err != nil {
		return s, nil, err
	}
	d.options.Log.Debug("chose the accelerator", "machine", m.Name, "accel", chosen.Accel, "reason", chosen.Reason)
	boot, err := d.takeOutKernel(m.Image)
	if err != nil {
		return s, nil, err
	}
	s = setup{
		Machine:     m,
		MachineType: hardwareOf(m, b).MachineType,
		choice:      chosen,
		Sandbox:     b.Sandbox,
		Boot:        boot,
	}
	if n := len(kernelCmdline(s)); n > longestCmdline {
		return s, nil, fail.New(fail.BadValue, "start machine %s: its SSH key makes the kernel's command line too long (%d)", m.Name, n)
	}
	err = errors.Join(
		removeFile(dir.path(processFile)), // of a process that has ended
		dir.writeJSON(hardwareFile, hardware{MachineType: s.MachineType}),
		dir.openConsole(m, chosen, time.Now()),
	)
	return s, b, hostError(err, "start machine "+m.Name)
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
