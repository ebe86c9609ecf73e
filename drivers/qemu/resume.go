package qemu

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"

	"github.com/dorykube/dory/drivers"
	"github.com/dorykube/dory/internal/fail"
)

// resume lets a saved machine go on. Without a saved machine the status is not Resumed; if there was one that cannot be
// resumed, it is gone, and why says so. An error is what hinders a boot from the disk as well.
func (d *Driver) resume(ctx context.Context, b *binary, m drivers.Machine) (status drivers.Status, why string, err error) {
	dir := machineDir(m.Dir)
	saved := dir.saved()
	if !saved.exist() {
		return status, "", nil
	}
	snap, err := d.readSaved(ctx, b, m)
	if err != nil {
		d.options.Log.Debug("the saved machine cannot be resumed", "machine", m.Name, "err", err)
		return status, err.Error(), hostError(saved.remove(), "remove the saved state of machine "+m.Name)
	}
	s, err := d.setup(b, m, snap.choice)
	if err != nil {
		return status, "", err
	}
	// From the first instruction on, the disk and what was saved do not belong together any more. QEMU has opened the memory.
	snap.begin = saved.remove
	s.Load, s.Memory = &snap, savedMemory
	if err := dir.prepare(s, "goes on"); err != nil {
		return status, "", err
	}
	status, err = d.boot(ctx, b, s)
	switch {
	case err == nil:
		status.Resumed = true
		return status, "", nil
	case ctx.Err() != nil || !fail.Is(err, fail.QEMUFailed):
		return status, "", err // a taken port, for example: it can be resumed another time
	}
	why = err.Error()
	if evidence := fail.As(err).Evidence; evidence != "" {
		why += ": " + lastLine(evidence)
	}
	return status, why, hostError(saved.remove(), "remove the saved state of machine "+m.Name)
}

// readSaved reads a saved machine and looks whether it can go on with the disk, the hardware and the media there are now.
func (d *Driver) readSaved(ctx context.Context, b *binary, m drivers.Machine) (s snapshot, err error) {
	dir := machineDir(m.Dir)
	if s, err = dir.saved().read(ctx); errors.Is(err, fs.ErrNotExist) {
		return s, errors.New("saving it was interrupted")
	}
	if err != nil {
		return s, err
	}
	if m.Accel != "" && m.Accel != automatic && m.Accel != s.Accel {
		return s, fmt.Errorf("it ran on %s, and now %s is asked for", title(s.Accel), title(m.Accel))
	}
	if named := wishOf(m).model; named != "" && named != s.model() {
		return s, fmt.Errorf("it ran on processor model %s, and now %s is asked for", s.model(), named)
	}
	if s.QEMU != b.Version {
		return s, fmt.Errorf("it ran with QEMU %s, and another cannot load that: now there is QEMU %s", s.QEMU, b.Version)
	}
	if s.Key != snapshotKey(b, s.MachineType, s.choice, m) {
		return s, errors.New("QEMU or the machine's hardware has changed since")
	}
	if disk, err := markOf(dir.disk()); err != nil || disk != s.Disk {
		return s, errors.New("its disk was changed since")
	}
	now, err := mediaOf(m)
	if err != nil {
		return s, err
	}
	if !maps.Equal(now, s.Media) {
		return s, errors.New("the node image or the bundle was changed since")
	}
	return s, nil
}

// mediaOf are the marks of what the machine's guest has mounted besides its disk.
func mediaOf(m drivers.Machine) (map[string]mark, error) {
	media := map[string]mark{}
	for _, path := range []string{m.Image, m.Bundle} {
		if path == "" {
			continue
		}
		found, err := markOf(path)
		if err != nil {
			return nil, err
		}
		media[filepath.Base(path)] = found
	}
	return media, nil
}
