package cluster

import (
	"context"
	"errors"
	"io"
	"net"
	"strconv"
	"time"

	"github.com/dorykube/dory/drivers"
	"github.com/dorykube/dory/internal/fail"
	"github.com/dorykube/dory/internal/kube"
	"github.com/dorykube/dory/internal/progress"
	"github.com/dorykube/dory/internal/sshrun"
	"github.com/dorykube/dory/provision"
	"github.com/dorykube/dory/provision/pki"
)

var (
	forkStep  = progress.Step{Name: "fork", Title: "Forking the template"}
	renewStep = progress.Step{Name: "renew", Title: "Giving the cluster an identity of its own"}
	waitStep  = progress.Step{Name: "wait", Title: "Waiting until everything is ready"}
)

// fromTemplate makes the cluster out of its template. A template that cannot be forked is made anew, once. That takes minutes, so
// it is first forked again if its fork's machine is gone: it may have been ended by somebody else.
func (s *start) fromTemplate(ctx context.Context) (*pki.Authority, error) {
	if err := checkPorts(s.record.Machine.Forwards); err != nil {
		return nil, err
	}
	remade := false
	for attempt := 1; ; attempt++ {
		template, err := s.template(ctx)
		if fail.Is(err, fail.DiskTooMuch) {
			progress.From(ctx).Warn("there is no room for a template, and so the cluster's own machine is booted: " + fail.As(err).Message)
			return s.fromNothing(ctx)
		}
		if err != nil {
			return nil, err
		}
		authority, err := s.fork(ctx, template)
		if !fail.Is(err, fail.TemplateUnusable) || remade || ctx.Err() != nil {
			return authority, err
		}
		if attempt == 1 && s.isGone(ctx) {
			s.log.Info("the template is forked once more", "err", err)
			continue
		}
		remade = true
		progress.From(ctx).Warn("the template " + template.Key[:12] + " cannot be forked and is made anew: " + fail.As(err).Message)
		if err := s.removeTemplate(ctx, template.Key); err != nil {
			return nil, err
		}
	}
}

// isGone reports whether the cluster's machine has ended, or never was.
func (s *start) isGone(ctx context.Context) bool {
	status, err := s.driver.Status(ctx, s.record.Machine)
	return err == nil && (status.State == drivers.Stopped || status.State == drivers.Absent)
}

// checkPorts finds a taken port before a template is made, rather than a minute later. The driver has the last word.
func checkPorts(forwards []drivers.Forward) error {
	for _, f := range forwards {
		if f.Host == 0 || f.Prefer {
			continue
		}
		listener, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(f.Host)))
		if err != nil {
			return fail.Wrap(fail.PortTaken, err, "port %d of 127.0.0.1, for the machine's %s, is taken", f.Host, f.Name)
		}
		listener.Close()
	}
	return nil
}

// fork makes the cluster's machine out of the template, and a cluster of its own out of that. Until the renewal has ended
// the machine is worth nothing: a start that is cut short here begins with another fork.
func (s *start) fork(ctx context.Context, template *Template) (*pki.Authority, error) {
	if err := s.driver.Delete(ctx, s.record.Machine); err != nil { // what is left of such a start
		return nil, err
	}
	made := make(chan newIdentity, 1)
	go func() { made <- s.makeIdentity() }()
	var line io.ReadWriteCloser
	err := progress.Do(ctx, forkStep, func(ctx context.Context) (result string, err error) {
		line, err = s.forkMachine(ctx, template)
		return s.status.AccelReason, err
	})
	id := <-made
	if err != nil {
		return nil, err
	}
	defer line.Close()
	if id.err != nil {
		return nil, id.err
	}
	err = progress.Do(ctx, renewStep, func(ctx context.Context) (string, error) {
		err := s.renew(ctx, line, id)
		if errors.Is(err, provision.ErrSilent) {
			err = fail.Wrap(fail.TemplateUnusable, err, "renew a fork of the template %s", template.Key[:12]).WithEvidence(s.consoleTail())
		}
		return s.name, err
	})
	return id.authority, err
}

// forkMachine returns the line to what waits in the fork for its identity.
func (s *start) forkMachine(ctx context.Context, template *Template) (line io.ReadWriteCloser, err error) {
	s.record.Template = template.Key
	forker := s.driver.(drivers.Forker)
	if s.status, err = forker.Fork(ctx, s.record.Machine, template.files.path(frozenDir)); err != nil {
		return nil, err
	}
	template.touch()
	s.record.made(machineResource, s.record.Machine.UUID)
	s.rememberPorts()
	if err := s.saveMachine(); err != nil {
		return nil, err
	}
	if line, err = forker.Line(ctx, s.record.Machine); err != nil { // then it has ended already
		err = fail.Wrap(fail.TemplateUnusable, err, "talk to a fork of the template %s", template.Key[:12]).WithEvidence(s.consoleTail())
	}
	return line, err
}

// newIdentity is what makes the fork a cluster of its own; made while the fork starts.
type newIdentity struct {
	provision.Identity
	authority *pki.Authority
	err       error
}

func (h *held) makeIdentity() (id newIdentity) {
	id.Hostname, id.AuthorizedKey = h.name, h.record.Machine.AuthorizedKey
	if id.authority, id.err = h.openAuthority(); id.err != nil {
		return id
	}
	id.HostKey, id.HostKeyPublic, id.err = sshrun.NewKey()
	return id
}

// renew gives the fork its identity, and then waits for what the user wants to wait for.
func (s *start) renew(ctx context.Context, line io.ReadWriteCloser, id newIdentity) error {
	watched, stop := s.watch(ctx)
	defer stop()
	wait, err := kube.ParseWait(s.options.Wait)
	if err != nil {
		return err
	}
	err = s.parts.renew(watched, line, s.apiAddress(), s.record.Settings, id.authority, id.Identity, wait, time.Duration(s.options.WaitTimeout))
	if err != nil {
		return s.because(ctx, watched, err)
	}
	key, err := provisionKey(s.record.Settings)
	if err != nil {
		return err
	}
	s.record.HostKey, s.record.Provisioned = id.HostKeyPublic, key
	return s.saveMachine()
}

// await waits for the conditions of --wait.
func (s *start) await(ctx context.Context, authority *pki.Authority) error {
	wait, err := kube.ParseWait(s.options.Wait)
	if err != nil || len(wait) == 0 {
		return err
	}
	ca, cert, key, err := authority.AdminKubeconfigAuth()
	if err != nil {
		return err
	}
	api, err := s.parts.api(ca, cert, key, "https://"+s.apiAddress())
	if err != nil {
		return err
	}
	limit := time.Duration(s.options.WaitTimeout)
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if err := api.Wait(limited, wait); err != nil && ctx.Err() == nil {
		return fail.Wrap(fail.ControlPlaneWait, err, "the cluster was not ready within %s", limit)
	}
	return ctx.Err()
}

// resumed sees to a machine that went on from where it was saved: its clock stands where it stood then.
func (s *start) resumed(ctx context.Context, node Node, authority *pki.Authority) error {
	return progress.Do(ctx, waitStep, func(ctx context.Context) (string, error) {
		if err := provision.SetClock(ctx, node); err != nil {
			return "", err
		}
		return "", s.await(ctx, authority)
	})
}
