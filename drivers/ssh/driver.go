// Package ssh is the driver for machines that exist already: a server, a VM of somebody else's making. It neither makes nor
// ends them. A machine "runs" while what dory put onto it does.
//
// On the machine there are two things of the driver's own: /var/lib/dory, with the owner's mark and the bundle, and
// dory-machine.target, a systemd target to which everything else that dory puts there belongs: stopping the target stops it
// all, and the target's state is the machine's. What must be done to remove the rest, the rest says itself, in removeProgram.
package ssh

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/dorykube/dory/drivers"
	"github.com/dorykube/dory/internal/fail"
	"github.com/dorykube/dory/internal/sshrun"
	"github.com/dorykube/dory/provision"
)

// Name is the driver's.
const Name = "ssh"

// Options are the driver's surroundings.
type Options struct{ Log *slog.Logger }

// Driver is for one dory process. It keeps the connections to machines that it has used.
type Driver struct {
	log     *slog.Logger
	mu      sync.Mutex
	clients map[string]*sshrun.Client // by the machine's UUID
}

// New makes the driver.
func New(o Options) *Driver { return &Driver{log: o.Log, clients: map[string]*sshrun.Client{}} }

// Capabilities of the driver.
func Capabilities() drivers.Capabilities { return drivers.Capabilities{} }

// Limits on what is asked of a machine, which may be an emulated one that has other things to do. Status has its own.
const (
	loginLimit  = 30 * time.Second
	lookLimit   = 30 * time.Second
	scriptLimit = 5 * time.Minute
	statusLimit = 1900 * time.Millisecond
)

// Files in a machine's directory.
const (
	knownHosts  = "known_hosts" // the host keys that were seen first
	claimedFile = "claimed"     // it is there before anything is changed on the machine, and until all is undone
)

// Login is how to log in to a machine.
func (d *Driver) Login(m drivers.Machine) (sshrun.Config, error) {
	if m.Remote == nil || m.Remote.Address == "" {
		return sshrun.Config{}, fail.New(fail.RemoteMissing, "no machine is named")
	}
	r := m.Remote
	cfg, err := sshrun.Account{Host: r.Address, Port: r.Port, User: r.User, KeyFile: r.KeyFile, Jump: r.Jump,
		Learned: filepath.Join(m.Dir, knownHosts)}.Config()
	if err != nil {
		return cfg, fail.Wrap(fail.RemoteUnreachable, err, "log in to %s", r.Address)
	}
	return cfg, nil
}

// client returns the connection to a machine, which is made if there is none that works.
func (d *Driver) client(ctx context.Context, m drivers.Machine) (*sshrun.Client, error) {
	if c := d.kept(m, nil); c != nil {
		return c, nil
	}
	cfg, err := d.Login(m)
	if err != nil {
		return nil, err
	}
	limited, cancel := context.WithTimeout(ctx, loginLimit)
	defer cancel()
	c, err := sshrun.Dial(limited, cfg)
	switch {
	case err == nil:
		return d.kept(m, c), nil
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case fail.Is(err, fail.HostPermission):
		return nil, fail.As(err)
	case errors.Is(err, sshrun.ErrHostKey):
		return nil, fail.Wrap(fail.RemoteHostKey, err, "log in to %s", cfg.Addr)
	default:
		return nil, fail.Wrap(fail.RemoteUnreachable, err, "reach %s", cfg.Addr)
	}
}

// kept returns the connection to a machine that is there already, or else keeps the new one, which may be nil. Nobody waits here for
// somebody else's machine to answer: two calls may both make a connection, of which one is closed.
func (d *Driver) kept(m drivers.Machine, made *sshrun.Client) *sshrun.Client {
	d.mu.Lock()
	defer d.mu.Unlock()
	if c := d.clients[m.UUID]; c != nil {
		if made != nil {
			go made.Close()
		}
		return c
	}
	if made != nil {
		d.clients[m.UUID] = made
	}
	return made
}

// forget closes a connection that does not work any more, so that the next call makes another.
func (d *Driver) forget(m drivers.Machine) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if c := d.clients[m.UUID]; c != nil {
		go c.Close() // which a machine that hangs would not acknowledge
		delete(d.clients, m.UUID)
	}
}

// run runs a script as root on the machine and returns what it printed. args are its $1, $2 and so on. A connection that was
// cut is made anew once, so scripts must bear to run twice.
func (d *Driver) run(ctx context.Context, m drivers.Machine, script string, args ...string) (string, error) {
	quoted := ""
	for _, arg := range args {
		quoted += " '" + strings.ReplaceAll(arg, "'", `'\''`) + "'"
	}
	limited, cancel := context.WithTimeout(ctx, scriptLimit)
	defer cancel()
	for again := false; ; again = true {
		c, err := d.client(limited, m)
		if err != nil {
			return "", err
		}
		var out bytes.Buffer
		err = c.Run(limited, provision.Cmd{Shell: "set --" + quoted + "\n" + script, Stdout: &out})
		if exit := (*provision.ExitError)(nil); err == nil || errors.As(err, &exit) {
			return strings.TrimSpace(out.String()), err
		}
		d.forget(m)
		switch {
		case ctx.Err() != nil:
			return "", ctx.Err()
		case again, limited.Err() != nil:
			return "", fail.Wrap(fail.RemoteUnreachable, err, "run a command on %s", m.Remote.Address)
		}
	}
}

// command is run, with whatever the script says on stderr as evidence of its failure.
func (d *Driver) command(ctx context.Context, m drivers.Machine, doing, script string, args ...string) (string, error) {
	out, err := d.run(ctx, m, script, args...)
	if exit := (*provision.ExitError)(nil); errors.As(err, &exit) {
		return out, scriptFailure(m, doing, exit)
	}
	return out, err
}

// Exit codes of the scripts, and what they mean.
var scriptKinds = map[int]fail.Kind{3: fail.RemoteUnfit, 4: fail.RemoteTaken, 5: fail.PortTaken, 6: fail.DiskTooMuch, 7: fail.MemoryTooMuch}

func scriptFailure(m drivers.Machine, doing string, exit *provision.ExitError) error {
	kind, known := scriptKinds[exit.Code]
	if !known {
		kind = fail.GuestCommand
	}
	if strings.Contains(exit.Stderr, "sudo:") {
		return fail.New(fail.RemoteSudo, "user %s cannot become root on %s", m.Remote.User, m.Remote.Address).
			WithEvidence(strings.TrimSpace(exit.Stderr))
	}
	failure := fail.New(kind, "%s on %s", doing, m.Remote.Address).WithEvidence(strings.TrimSpace(exit.Stderr))
	if kind == fail.PortTaken {
		failure = failure.WithAdvice("end what listens there on %s, or choose another --apiserver-port", m.Remote.Address)
	}
	return failure
}

// Check says what this computer has to log in with. Whether a machine will do is known when there is one.
func (d *Driver) Check(context.Context) drivers.Report {
	finding := drivers.Finding{Name: "ssh keys", OK: true, Evidence: "found"}
	if _, err := (sshrun.Account{Host: "localhost", User: "root"}).Config(); err != nil {
		finding = drivers.Finding{Name: "ssh keys", Evidence: err.Error(),
			Remedy: "name one with --ssh-key, or make one: 'ssh-keygen -t ed25519'"}
	}
	return drivers.Report{Usable: true, Findings: []drivers.Finding{finding},
		Summary: fmt.Sprintf("for machines that exist already; SSH keys of this computer: %s", finding.Evidence)}
}
