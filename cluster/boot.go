package cluster

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/dorykube/dory/drivers"
	"github.com/dorykube/dory/internal/fail"
	"github.com/dorykube/dory/internal/kube"
	"github.com/dorykube/dory/internal/progress"
	"github.com/dorykube/dory/provision"
	"github.com/dorykube/dory/provision/pki"
)

// makeMachine has the driver make the machine, unless there is one.
func (s *start) makeMachine(ctx context.Context) error {
	if s.status.State == drivers.Running || s.status.State == drivers.Paused {
		return nil
	}
	return progress.Do(ctx, machineStep, func(ctx context.Context) (string, error) {
		m := s.record.Machine
		if err := s.driver.Create(ctx, m); err != nil {
			return "", err
		}
		s.record.made(machineResource, m.UUID)
		return fmt.Sprintf("%d CPUs, %s, disk %s", m.CPUs, s.plan.Spec.Memory, s.plan.Spec.DiskSize), s.saveMachine()
	})
}

// boot starts the machine and logs in as soon as its SSH server speaks. Meanwhile a new cluster's authorities are made.
func (s *start) boot(ctx context.Context) (node Node, authority *pki.Authority, err error) {
	open := sync.OnceValues(s.openAuthority)
	if s.record.Phase == Made { // that a file of them is damaged is said before the machine is touched
		if _, err := open(); err != nil {
			return nil, nil, err
		}
	}
	go open()
	err = progress.Do(ctx, bootStep, func(ctx context.Context) (string, error) {
		if s.status, err = s.driver.Start(ctx, s.record.Machine); err != nil {
			return "", err
		}
		if s.status.NotResumed != "" {
			progress.From(ctx).Warn("the machine boots from its disk instead of going on where it was stopped: " + s.status.NotResumed)
		}
		s.rememberPorts()
		if err := s.learnNetwork(); err != nil {
			return "", err
		}
		if err := s.saveMachine(); err != nil {
			return "", err
		}
		if node, err = s.login(ctx); err != nil {
			return "", err
		}
		if s.status.Resumed {
			return "it goes on where it was stopped", nil
		}
		return s.status.AccelReason, nil
	})
	authority, damaged := open()
	err = cmp.Or(err, damaged)
	if err != nil && node != nil {
		node.Close()
	}
	return node, authority, err
}

// openAuthority reads the cluster's certificate authorities, and makes those that there are not.
func (h *held) openAuthority() (*pki.Authority, error) {
	authority, err := pki.Open(h.files.path(pkiDir))
	if err != nil {
		err = fail.Wrap(fail.RecordCorrupt, err, "read the cluster's certificate authorities")
	}
	return authority, err
}

// rememberPorts makes the ports that the driver chose a wish for the next time.
func (s *start) rememberPorts() {
	for i := range s.record.Machine.Forwards {
		f := &s.record.Machine.Forwards[i]
		if port := s.status.HostPort(f.Name); port != 0 {
			f.Host = port
		}
	}
}

// learnNetwork notes where the machine is, which some drivers know only now. It must not be where pods or Services are.
func (s *start) learnNetwork() error {
	if s.status.NodeIP == "" {
		return nil
	}
	settings := &s.record.Settings
	if settings.NodeIP != s.status.NodeIP {
		s.changed = s.before != nil && s.before.Phase == Made
	}
	settings.NodeIP, settings.HostIP = s.status.NodeIP, s.status.HostIP
	for flag, cidr := range map[string]string{"--service-cluster-ip-range": settings.ServiceCIDR, "the range of pods": settings.PodCIDR} {
		ip, err := netip.ParseAddr(settings.NodeIP)
		if err != nil || netip.MustParsePrefix(cidr).Contains(ip) {
			return fail.New(fail.BadValue, "the machine's address %s is in %s, %s", settings.NodeIP, flag, cidr)
		}
	}
	return nil
}

// login waits until the machine lets us in, and remembers its host key when it is seen first.
func (s *start) login(ctx context.Context) (Node, error) {
	cfg, err := access(s.driver, s.record, s.files, s.status)
	if err != nil {
		return nil, err
	}
	watched, stop := s.watch(ctx)
	defer stop()
	if !s.status.Resumed && !s.ran {
		var stopListening func()
		watched, stopListening = s.awaitFirstWord(watched)
		defer stopListening()
	}
	limited, cancel := context.WithTimeout(watched, time.Duration(s.options.WaitTimeout))
	defer cancel()
	// A machine that went on, or that runs and was logged in to before, has its server up.
	cfg.Up = s.status.Resumed || s.ran && s.record.HostKey != ""
	node, err := s.parts.dial(limited, cfg)
	if err != nil {
		err = s.because(ctx, watched, fail.Wrap(fail.GuestSSH, err, "log in to the machine").WithEvidence(s.consoleTail()))
		if fail.Is(err, fail.GuestSilent) { // it has written to no disk either, and the next start must not find it running
			err = joinIf(err, s.driver.Stop(ctx, s.record.Machine, 0))
		}
		return nil, err
	}
	if s.record.HostKey == "" {
		s.record.HostKey = node.HostKey()
		err = s.saveMachine()
	}
	return node, err
}

// provision makes the machine a node.
func (s *start) provision(ctx context.Context, node Node, authority *pki.Authority) error {
	wait, err := kube.ParseWait(s.options.Wait)
	if err != nil {
		return err
	}
	key, err := provisionKey(s.record.Settings)
	if err != nil {
		return err
	}
	watched, stop := s.watch(ctx)
	defer stop()
	target := provision.Target{Runner: node, API: s.apiAddress()}
	err = s.parts.provision(watched, target, s.record.Settings, authority, wait, time.Duration(s.options.WaitTimeout))
	if err != nil {
		err = s.because(ctx, watched, err)
		if fail.Is(err, fail.GuestSSH) {
			err = fail.As(err).WithEvidence(s.consoleTail())
		}
		if reverted := s.revert(ctx, node, authority, err); reverted != nil {
			err = joinFailures(err, reverted)
		}
		return err
	}
	s.record.Provisioned = key
	return nil
}

// revert puts the node back to what it was before, if the failed start tried to change it.
func (s *start) revert(ctx context.Context, node Node, authority *pki.Authority, why error) error {
	if !s.changed || s.record.Upgrading != "" || ctx.Err() != nil || fail.Is(why, fail.DiskTooMuch) || fail.Is(why, fail.MachineEnded) {
		return nil
	}
	return progress.Do(ctx, revertStep, func(ctx context.Context) (string, error) {
		quiet := progress.With(ctx, progress.From(context.Background()))
		return "", s.provisionPrevious(quiet, node, authority)
	})
}

// apiAddress is where the API server is reached from this computer.
func (s *start) apiAddress() string { return apiAddress(s.status, s.record.Machine) }

func apiAddress(status drivers.Status, m drivers.Machine) string {
	i := slices.IndexFunc(m.Forwards, func(f drivers.Forward) bool { return f.Name == apiForward })
	if i < 0 {
		return ""
	}
	host, port := "127.0.0.1", m.Forwards[i].Host
	if p := status.HostPort(apiForward); p != 0 {
		port = p
	} else if len(status.Forwards) == 0 && status.IP != "" { // a machine with an address of its own
		host, port = status.IP, m.Forwards[i].Guest
	}
	return net.JoinHostPort(host, strconv.Itoa(port))
}

const (
	watchEvery       = time.Second      // how often a machine is looked at while something is done on it
	watchRemoteEvery = 10 * time.Second // whose machine has to answer that itself

	lastLook  = 3 * time.Second // at a machine on which something failed
	lookAgain = 50 * time.Millisecond
)

// watch returns a context that ends, with the reason as its cause, when the machine does.
func (h *held) watch(ctx context.Context) (context.Context, func()) {
	watched, cancel := context.WithCancelCause(ctx)
	machine := h.record.Machine
	every := watchEvery
	if machine.Remote != nil {
		every = watchRemoteEvery
	}
	go func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-watched.Done():
				return
			case <-tick.C:
			}
			if reason, _ := h.examine(watched, machine); reason != nil {
				cancel(reason)
				return
			}
		}
	}()
	return watched, func() { cancel(nil) }
}

// examine returns what is wrong with a machine that ought to run, nil for nothing, and whether the machine says how it is.
func (h *held) examine(ctx context.Context, machine drivers.Machine) (reason *fail.Error, known bool) {
	status, err := h.driver.Status(ctx, machine)
	if err != nil || ctx.Err() != nil {
		return nil, false
	}
	if reason = trouble(status); reason != nil {
		reason = reason.WithEvidence(join(reason.Evidence, h.consoleTail()))
	}
	return reason, status.State != drivers.Unknown
}

// trouble is what is wrong with a machine that ought to run; nil: nothing, as far as is known.
func trouble(status drivers.Status) *fail.Error {
	switch {
	case status.State == drivers.Stopped, status.State == drivers.Absent:
		return fail.New(fail.MachineEnded, "the machine ended while it was at work").WithEvidence(status.Reason)
	case status.State == drivers.Paused && status.Reason != "":
		return fail.New(fail.DiskTooMuch, "the machine was halted").WithEvidence(status.Reason)
	default:
		return nil
	}
}

// because returns the reason for which a watched machine ended or was halted, if it did, in place of what that led to.
func (h *held) because(ctx, watched context.Context, err error) error {
	if reason := (*fail.Error)(nil); ctx.Err() == nil && errors.As(context.Cause(watched), &reason) {
		return reason
	}
	// What it led to may be there before the watch looks again, and before the machine's last process is gone.
	soon, cancel := context.WithTimeout(ctx, lastLook)
	defer cancel()
	for soon.Err() == nil {
		reason, known := h.examine(soon, h.record.Machine)
		if reason != nil {
			return reason
		}
		if known {
			break
		}
		time.Sleep(lookAgain)
	}
	return err
}

// tailLines is how much of a console is evidence.
const tailLines = 15

// consoleTail is the end of what the machine wrote to its console, or empty.
func (h *held) consoleTail() string {
	text, err := h.console(context.Background())
	if err != nil {
		return ""
	}
	return lastLines(text, tailLines)
}

func (h *held) console(ctx context.Context) (string, error) {
	return console(ctx, h.driver, h.record.Machine)
}

func console(ctx context.Context, d drivers.Driver, m drivers.Machine) (string, error) {
	c, ok := d.(drivers.Console)
	if !ok {
		return "", nil
	}
	r, err := c.Console(ctx, m)
	if err != nil {
		return "", err
	}
	defer r.Close()
	text, err := io.ReadAll(r)
	return string(text), err
}

func lastLines(text string, n int) string {
	lines := strings.Split(strings.TrimRight(strings.ReplaceAll(text, "\r", ""), "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

func join(parts ...string) string {
	return strings.Join(slices.DeleteFunc(parts, func(p string) bool { return p == "" }), "\n")
}
