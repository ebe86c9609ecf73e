package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"time"

	"github.com/dorykube/dory/drivers"
	"github.com/dorykube/dory/internal/atomicfile"
	"github.com/dorykube/dory/internal/fail"
	"github.com/dorykube/dory/internal/progress"
	"github.com/dorykube/dory/internal/sshrun"
	"github.com/dorykube/dory/provision"
	"github.com/dorykube/dory/provision/pki"
)

var (
	settleStep = progress.Step{Name: "settle", Title: "Letting the node come to rest"}
	freezeStep = progress.Step{Name: "freeze", Title: "Freezing it as a template"}
)

// forkable reports whether the cluster's machine is to be a fork.
func (s *start) forkable() bool {
	_, freezes := s.driver.(drivers.Freezer)
	_, forks := s.driver.(drivers.Forker)
	_, named := s.driver.(drivers.Fingerprinter)
	entry, err := s.parts.driver(s.record.Driver)
	return freezes && forks && named && !s.options.NoTemplate && err == nil && entry.Capabilities.Fork
}

// template returns the template of the cluster's configuration. It makes it if there is none; if another dory is making
// it, it waits.
func (s *start) template(ctx context.Context) (found *Template, err error) {
	inputs, err := s.templateInputs(ctx)
	if err != nil {
		return nil, err
	}
	key := TemplateKey(inputs)
	if found, err = s.loadTemplate(key); err == nil {
		return found, nil
	}
	l, err := acquireWithin(ctx, s.templatePath(key)+lockSuffix, "start", time.Duration(s.options.WaitTimeout))
	if err != nil {
		return nil, err
	}
	defer l.remove()
	if found, err = s.loadTemplate(key); err == nil { // somebody has made it meanwhile
		return found, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		os.RemoveAll(s.templatePath(key)) // it cannot be read: nothing of it can be used
	}
	progress.From(ctx).Info("the first start of this configuration makes its template; later ones take about a second")
	if err := s.sweep(ctx, s.templatePath(key)+makingSuffix); err != nil {
		return nil, err
	}
	if err := s.makeTemplate(ctx, key, inputs); err != nil {
		return nil, err
	}
	if _, err := s.PruneTemplates(ctx, TemplatesLimit); err != nil {
		progress.From(ctx).Warn(err.Error())
	}
	return s.loadTemplate(key)
}

func (s *start) templateInputs(ctx context.Context) (TemplateInputs, error) {
	fingerprint, err := s.driver.(drivers.Fingerprinter).Fingerprint(ctx, s.templateMachine(""))
	if err != nil {
		return TemplateInputs{}, err
	}
	provisioned, err := provisionKey(s.templateSettings())
	return TemplateInputs{Image: s.from.imageDigest, Bundle: s.from.bundleDigest, Fingerprint: fingerprint,
		Provisioned: provisioned, Format: templateFormat}, err
}

// templateSettings are the cluster's, but for what its renewal changes anyway.
func (s *start) templateSettings() provision.Settings {
	settings := s.record.Settings
	settings.APIServerNames, settings.APIServerIPs = nil, nil
	return settings
}

// templateMachine is the cluster's, but for what is a machine's own.
func (s *start) templateMachine(dir string) drivers.Machine {
	m := machineFor(s.plan.Spec, NodeName, newUUID(), dir)
	m.Image, m.Bundle = s.from.image, s.from.bundle
	m.Freezable = true
	for i := range m.Forwards {
		m.Forwards[i].Host, m.Forwards[i].Prefer = 0, true // the user's port is for the fork
	}
	return m
}

// makeTemplate makes a node in a directory of its own, lets it come to rest and freezes it. Whatever happens, nothing
// half-made is left under the template's name, and nothing at all unless this process is killed.
func (s *start) makeTemplate(ctx context.Context, key string, inputs TemplateInputs) (err error) {
	making := files{s.templatePath(key) + makingSuffix}
	t := &start{plan: s.plan, options: s.options, from: s.from,
		held: &held{Manager: s.Manager, name: NodeName, files: making, log: s.log, logTo: &lateFile{}, driver: s.driver}}
	t.options.Wait = "all"
	defer func() {
		if err != nil && ctx.Err() == nil {
			s.keepConsole(ctx, t)
		}
		if err != nil {
			err = joinIf(err, s.sweep(context.WithoutCancel(ctx), making.dir))
		}
	}()
	if err := t.beginTemplate(s); err != nil {
		return err
	}
	if err := t.makeMachine(ctx); err != nil {
		return err
	}
	node, authority, err := t.boot(ctx)
	if err != nil {
		return err
	}
	defer node.Close()
	if err := t.provision(ctx, node, authority); err != nil {
		return err
	}
	err = progress.Do(ctx, settleStep, func(ctx context.Context) (string, error) {
		watched, stop := t.watch(ctx)
		defer stop()
		result, err := s.parts.settle(watched, node)
		if err == nil {
			err = t.forget(watched, authority)
		}
		if err != nil {
			err = t.because(ctx, watched, err)
		}
		return result, err
	})
	if err != nil {
		return err
	}
	return progress.Do(ctx, freezeStep, func(ctx context.Context) (string, error) {
		return key[:12], t.freeze(ctx, node, Template{Key: key, Kubernetes: s.plan.Spec.KubernetesVersion,
			Driver: s.plan.Spec.Driver, Spec: s.plan.Spec, Inputs: inputs, Created: time.Now()}, s.templatePath(key))
	})
}

// keepConsole keeps what the machine of a making that failed has said, for 'dory logs': the machine goes.
func (s *start) keepConsole(ctx context.Context, making *start) {
	if making.record == nil {
		return
	}
	text, err := console(ctx, making.driver, making.record.Machine)
	if err == nil && text != "" {
		err = atomicfile.Write(s.files.path(makingConsole), []byte(text), 0o600)
	}
	if err != nil {
		s.log.Warn("the console of a template that was not made could not be kept", "error", err.Error())
	}
}

// beginTemplate writes the record by which the machine is found again if this process is killed.
func (t *start) beginTemplate(s *start) error {
	if err := os.MkdirAll(t.files.dir, 0o700); err != nil {
		return hostError(err, "make the template's directory")
	}
	private, authorized, err := sshrun.NewKey()
	if err != nil {
		return err
	}
	if err := atomicfile.Write(t.files.path(sshKeyFile), private, 0o600); err != nil {
		return hostError(err, "write the template's login key")
	}
	machine := s.templateMachine(t.files.path(machineDir))
	machine.AuthorizedKey = authorized
	t.record = &Record{Version: recordVersion, Name: NodeName, Driver: s.plan.Spec.Driver, Phase: Making, Spec: s.plan.Spec,
		Created: time.Now(), Machine: machine, Settings: s.templateSettings()}
	if err := t.files.saveMachine(t.record); err != nil {
		return err
	}
	return t.files.save(t.record)
}

// forget removes what a user of a fork would wonder at: the events of the template's own making.
func (t *start) forget(ctx context.Context, authority *pki.Authority) error {
	ca, cert, key, err := authority.AdminKubeconfigAuth()
	if err != nil {
		return err
	}
	api, err := t.parts.api(ca, cert, key, "https://"+t.apiAddress())
	if err != nil {
		return err
	}
	if err := api.DeleteEvents(ctx); err != nil {
		return fail.Wrap(fail.ControlPlaneFailed, err, "remove the template's events")
	}
	return nil
}

// freeze ends the machine and gives the directory the template's name, when everything else is in it.
func (t *start) freeze(ctx context.Context, node Node, template Template, path string) error {
	if err := provision.Hold(ctx, node); err != nil {
		return err
	}
	node.Close() // nothing of this session wakes up in a fork
	if err := t.driver.(drivers.Freezer).Freeze(ctx, t.record.Machine, t.files.path(frozenDir)); err != nil {
		return err
	}
	if err := t.driver.Delete(ctx, t.record.Machine); err != nil {
		return err
	}
	// No cluster trusts these, and nobody needs them any more.
	if err := errors.Join(os.RemoveAll(t.files.path(pkiDir)), os.Remove(t.files.path(sshKeyFile))); err != nil {
		return hostError(err, "remove the template's authorities and its login key")
	}
	text, err := json.MarshalIndent(template, "", "  ")
	if err != nil {
		return err
	}
	if err := atomicfile.Write(t.files.path(templateFile), text, 0o600); err != nil {
		return hostError(err, "describe the template")
	}
	return hostError(os.Rename(t.files.dir, path), "give the template its name")
}

func joinIf(err, other error) error {
	if other == nil {
		return err
	}
	return joinFailures(err, other)
}
