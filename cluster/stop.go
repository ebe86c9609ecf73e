package cluster

import (
	"context"
	"time"

	"github.com/dorykube/dory/drivers"
	"github.com/dorykube/dory/internal/fail"
	"github.com/dorykube/dory/internal/kubeconfig"
	"github.com/dorykube/dory/internal/progress"
	"github.com/dorykube/dory/provision"
)

// How long a guest may take to power off before it is ended: an emulated one is many times slower.
const (
	grace         = 60 * time.Second
	graceEmulated = 180 * time.Second
)

// emulated is the accelerator that is none.
const emulated = "tcg"

// StopOptions are how to stop.
type StopOptions struct {
	KeepContext bool // leave the kubeconfig's current context as it is
	PowerOff    bool // shut the guest down, rather than save it
}

// Stop saves the cluster's machine and ends it, so that its memory is free; where the driver cannot do that, and where there
// is nothing worth it, the machine is powered off. It says whether there was anything to stop.
func (m *Manager) Stop(ctx context.Context, name string, o StopOptions) (stopped bool, err error) {
	h, err := m.holdExisting(ctx, name, "stop")
	if err != nil {
		return false, err
	}
	defer h.release()
	ctx = h.logged(ctx)
	status, err := h.driver.Status(ctx, h.record.Machine)
	if err != nil {
		return false, h.failed(ctx, err)
	}
	if status.State == drivers.Stopped || status.State == drivers.Absent {
		return false, nil
	}
	if status.NoSpace && !o.PowerOff {
		if status, err = h.goOn(ctx); err != nil {
			return false, h.failed(ctx, err)
		}
	}
	saver, saves := h.driver.(drivers.Saver)
	if saves && !o.PowerOff && status.State == drivers.Running && h.record.Phase == Made {
		err = h.save(ctx, saver)
	} else {
		err = h.powerOff(ctx, status)
	}
	if err != nil {
		return false, h.failed(ctx, err)
	}
	if !o.KeepContext {
		err = kubeconfig.Unset(name)
	}
	h.log.Info("end", "verb", "stop")
	return true, err
}

// haltsAgain is how soon a guest whose disk is full is halted again when it goes on.
const haltsAgain = 2 * time.Second

// goOn lets a machine go on that was halted because its disk could not be written, and looks whether there is room now. If
// there is not, stopping it would lose what its guest has not written.
func (h *held) goOn(ctx context.Context) (status drivers.Status, err error) {
	pauser, ok := h.driver.(drivers.Pauser)
	if !ok {
		return h.driver.Status(ctx, h.record.Machine)
	}
	if err := pauser.Unpause(ctx, h.record.Machine); err != nil {
		return status, err
	}
	select {
	case <-ctx.Done():
		return status, ctx.Err()
	case <-time.After(haltsAgain):
	}
	if status, err = h.driver.Status(ctx, h.record.Machine); err == nil && status.NoSpace {
		err = halted(h.name, status)
	}
	return status, err
}

// halted is what a user is told of a machine that cannot write, and so neither be saved nor shut down.
func halted(name string, status drivers.Status) error {
	return fail.New(fail.DiskTooMuch, "the machine of cluster %q is halted", name).WithEvidence(status.Reason).
		WithAdvice("free some space and try again; 'dory stop --power-off -p %s' ends it as a power cut would", name)
}

// save has the guest write out its file systems first: if the machine cannot be resumed one day, it boots from its disk.
func (h *held) save(ctx context.Context, saver drivers.Saver) error {
	return progress.Do(ctx, saveStep, func(ctx context.Context) (string, error) {
		if err := h.syncNode(ctx); err != nil {
			return "", err
		}
		return h.name, saver.Save(ctx, h.record.Machine)
	})
}

// syncNode has the guest write out its file systems. One that cannot write is halted, and would never answer.
func (h *held) syncNode(ctx context.Context) error {
	watched, stop := h.watch(ctx)
	defer stop()
	node, err := h.Login(watched, h.name, "")
	if err != nil {
		return h.because(ctx, watched, fail.As(err).WithAdvice("'dory stop --power-off -p %s' ends the machine without saving it", h.name))
	}
	defer node.Close()
	if err := node.Run(watched, provision.Cmd{Shell: "sync"}); err != nil {
		return h.because(ctx, watched, fail.Wrap(fail.GuestCommand, err, "write out the node's file systems"))
	}
	return nil
}

func (h *held) powerOff(ctx context.Context, status drivers.Status) error {
	limit := grace
	if status.Accel == emulated {
		limit = graceEmulated
	}
	return progress.Do(ctx, stopStep, func(ctx context.Context) (string, error) {
		return h.name, h.driver.Stop(ctx, h.record.Machine, limit)
	})
}

// Pause halts the machine's processors; Unpause lets them go on. Both say whether that changed anything.
func (m *Manager) Pause(ctx context.Context, name string) (changed bool, err error) {
	return m.pauser(ctx, name, "pause", drivers.Running, drivers.Paused, drivers.Pauser.Pause)
}

// Unpause is the reverse of Pause. The machine's clock stood still meanwhile, and is set.
func (m *Manager) Unpause(ctx context.Context, name string) (changed bool, err error) {
	changed, err = m.pauser(ctx, name, "unpause", drivers.Paused, drivers.Running, drivers.Pauser.Unpause)
	if changed && err == nil {
		m.mendClock(ctx, name)
	}
	return changed, err
}

func (m *Manager) pauser(ctx context.Context, name, verb string, from, to drivers.State,
	do func(drivers.Pauser, context.Context, drivers.Machine) error) (bool, error) {
	h, err := m.holdExisting(ctx, name, verb)
	if err != nil {
		return false, err
	}
	defer h.release()
	pauser, ok := h.driver.(drivers.Pauser)
	if !ok {
		return false, fail.New(fail.Unsupported, "driver %s cannot %s a machine", h.record.Driver, verb).WithAdvice("use 'dory stop'")
	}
	status, err := h.driver.Status(ctx, h.record.Machine)
	switch {
	case err != nil:
		return false, err
	case status.State == to:
		return false, nil
	case status.State != from:
		return false, fail.New(fail.ClusterNotUp, "%s cluster %q: its machine is %s", verb, name, status.State)
	}
	return true, do(pauser, ctx, h.record.Machine)
}

// failed says where to read more.
func (h *held) failed(ctx context.Context, err error) error {
	h.log.Error("failed", "err", err, "evidence", fail.As(err).Evidence)
	if ctx.Err() != nil {
		return err
	}
	return &Logged{err, h.files.path(logFile)}
}
