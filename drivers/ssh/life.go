package ssh

import (
	"context"
	_ "embed"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/dorykube/dory/drivers"
	"github.com/dorykube/dory/internal/fail"
)

var (
	//go:embed scripts/check.sh
	checkScript string
	//go:embed scripts/claim.sh
	claimScript string
	//go:embed scripts/status.sh
	statusScript string
	//go:embed scripts/remove.sh
	removeScript string
	//go:embed scripts/target
	target string
)

// Create looks whether the machine will do, before it touches anything, then marks it as dory's and uploads the bundle.
func (d *Driver) Create(ctx context.Context, m drivers.Machine) error {
	if err := os.MkdirAll(m.Dir, 0o700); err != nil {
		return fail.Wrap(fail.HostPermission, err, "make the machine's directory")
	}
	bundle, err := d.bundleFor(ctx, m)
	if err != nil {
		return err
	}
	args := []string{m.UUID, strconv.FormatInt(m.Disk>>20, 10)}
	for _, f := range m.Forwards {
		if f.Guest != sshPort {
			args = append(args, strconv.Itoa(f.Guest))
		}
	}
	if _, err := d.command(ctx, m, "check the machine", checkScript, args...); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(m.Dir, claimedFile), nil, 0o600); err != nil {
		return fail.Wrap(fail.HostPermission, err, "note that the machine is dory's")
	}
	if _, err := d.command(ctx, m, "mark the machine as dory's", claimScript, m.UUID, m.Name, target); err != nil {
		return err
	}
	if m.Bundle == "" {
		return nil
	}
	m.Bundle = bundle
	return d.upload(ctx, m)
}

// architectures are what uname(1) calls those that Go names otherwise.
var architectures = map[string]string{"x86_64": "amd64", "aarch64": "arm64"}

// bundleFor is the bundle for the machine's architecture, which need not be this computer's: beside the one that is here.
func (d *Driver) bundleFor(ctx context.Context, m drivers.Machine) (string, error) {
	said, err := d.command(ctx, m, "ask the machine for its architecture", "uname -m")
	if err != nil {
		return "", err
	}
	arch, known := architectures[strings.TrimSpace(said)]
	if ours := drivers.ArchOf(m.Bundle); known && (arch == ours || ours == "") {
		return m.Bundle, nil
	}
	other := drivers.ForArch(m.Bundle, arch)
	if _, err := os.Stat(other); known && err == nil {
		return other, nil
	}
	failure := fail.New(fail.RemoteUnfit, "the machine %s is of architecture %s, and there is no bundle for it", m.Remote.Address, strings.TrimSpace(said))
	if known {
		failure.WithAdvice("'make artifacts ARCH=%s' in dory's source tree makes %s", arch, other)
	} else {
		failure.WithAdvice("use a machine that is x86_64 or aarch64")
	}
	return "", failure
}

// sshPort is no port that a node claims: it is how the machine is reached.
const sshPort = 22

// Start lets run what dory put onto the machine. The machine itself is up, or this fails.
func (d *Driver) Start(ctx context.Context, m drivers.Machine) (drivers.Status, error) {
	status, err := d.look(ctx, m)
	if err != nil {
		return status, err
	}
	switch status.State {
	case drivers.Running:
		return status, nil
	case drivers.Absent:
		return status, fail.New(fail.RemoteUnfit, "start machine %s: it was never made dory's", m.Remote.Address)
	}
	if _, err := d.command(ctx, m, "start what dory has there", "systemctl -q enable --now dory-machine.target"); err != nil {
		return status, err
	}
	return d.look(ctx, m)
}

// Stop stops what dory put onto the machine, for the grace at the longest; the machine stays up.
func (d *Driver) Stop(ctx context.Context, m drivers.Machine, grace time.Duration) error {
	status, err := d.look(ctx, m)
	if err != nil || status.State != drivers.Running {
		return err
	}
	_, err = d.command(ctx, m, "stop what dory has there", stopScript, strconv.Itoa(max(1, int(grace.Seconds()))))
	return err
}

// stopScript ends hard what is not gone after $1 seconds. The units are named, since who stops a target does not wait for
// what belongs to it.
const stopScript = `systemctl -q disable dory-machine.target
units="dory-machine.target $(systemctl show -P ConsistsOf dory-machine.target)"
timeout $1 systemctl stop $units && exit
for unit in $units; do systemctl kill -s KILL $unit 2>/dev/null; done
systemctl stop $units`

// Status asks the machine. One that does not answer is Unknown, with the reason.
func (d *Driver) Status(ctx context.Context, m drivers.Machine) (drivers.Status, error) {
	limited, cancel := context.WithTimeout(ctx, statusLimit)
	defer cancel()
	status, err := d.look(limited, m)
	switch {
	case ctx.Err() != nil:
		return status, ctx.Err()
	case errors.Is(err, context.DeadlineExceeded):
		return drivers.Status{State: drivers.Unknown, Reason: "the machine did not answer over SSH within " + statusLimit.String()}, nil
	case fail.Is(err, fail.RemoteUnreachable), fail.Is(err, fail.RemoteHostKey), fail.Is(err, fail.RemoteSudo), fail.Is(err, fail.GuestCommand):
		return drivers.Status{State: drivers.Unknown, Reason: strings.TrimSpace(err.Error() + "\n" + fail.As(err).Evidence)}, nil
	}
	return status, err
}

// claimed reports whether dory may have changed something on the machine.
func claimed(m drivers.Machine) bool {
	_, err := os.Stat(filepath.Join(m.Dir, claimedFile))
	return !errors.Is(err, os.ErrNotExist)
}

// look asks the machine what it is doing. One that was never claimed is not asked: it may not even be there.
func (d *Driver) look(ctx context.Context, m drivers.Machine) (drivers.Status, error) {
	if !claimed(m) {
		return drivers.Status{State: drivers.Absent}, ctx.Err()
	}
	limited, cancel := context.WithTimeout(ctx, lookLimit)
	defer cancel()
	out, err := d.command(limited, m, "look at the machine", statusScript, m.UUID)
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		err = fail.Wrap(fail.RemoteUnreachable, err, "look at %s", m.Remote.Address)
	}
	if err != nil {
		return drivers.Status{}, err
	}
	facts := map[string]string{}
	for line := range strings.Lines(out) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		facts[key] = value
	}
	status := drivers.Status{State: drivers.Absent}
	switch {
	case facts["mark"] != m.UUID:
		return status, nil
	case facts["active"] != "active":
		status.State = drivers.Stopped
		return status, nil
	}
	r := m.Remote
	status = drivers.Status{State: drivers.Running, SSH: net.JoinHostPort(r.Address, strconv.Itoa(r.Port)), IP: r.Address,
		NodeIP: facts["ip"], HostIP: facts["peer"], Accel: "none", AccelReason: "the machine is there already"}
	return status, nil
}

// Delete removes from the machine everything that dory put there, and nothing else.
func (d *Driver) Delete(ctx context.Context, m drivers.Machine) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if claimed(m) {
		_, err := d.command(ctx, m, "remove what dory put there", removeScript, m.UUID)
		if fail.Is(err, fail.RemoteUnreachable) {
			return fail.As(err).WithAdvice("delete again when it answers; if it is gone for good, remove %s first", filepath.Join(m.Dir, claimedFile))
		}
		if err != nil {
			return err
		}
	}
	d.forget(m)
	for _, name := range []string{claimedFile, knownHosts} {
		if err := os.Remove(filepath.Join(m.Dir, name)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fail.Wrap(fail.HostPermission, err, "remove the machine's files")
		}
	}
	os.Remove(m.Dir) // somebody else's files keep it
	return nil
}
