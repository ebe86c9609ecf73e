package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dorykube/dory/drivers"
	"github.com/dorykube/dory/drivers/registry"
	"github.com/dorykube/dory/internal/fail"
	"github.com/dorykube/dory/provision"
	"github.com/dorykube/dory/provision/pki"
)

// forkingDriver is a fake whose frozen machine is a file, too.
type forkingDriver struct{ fakeDriver }

func (d forkingDriver) Fingerprint(_ context.Context, m drivers.Machine) (string, error) {
	return fmt.Sprintf("fake with %d CPUs", m.CPUs), nil
}

func (d forkingDriver) Freeze(ctx context.Context, m drivers.Machine, dir string) error {
	if err := errors.Join(d.w.call("freeze"), ctx.Err()); err != nil {
		return err
	}
	return errors.Join(os.Mkdir(dir, 0o700), os.WriteFile(filepath.Join(dir, "state"), []byte("frozen"), 0o600), os.RemoveAll(m.Dir))
}

func (d forkingDriver) Fork(ctx context.Context, m drivers.Machine, frozen string) (drivers.Status, error) {
	if err := errors.Join(d.w.call("fork"), ctx.Err()); err != nil {
		return drivers.Status{}, err
	}
	if d.state(m) != drivers.Absent {
		return drivers.Status{}, errors.New("there is such a machine")
	}
	if text, _ := os.ReadFile(filepath.Join(frozen, "state")); string(text) != "frozen" {
		return drivers.Status{}, fail.New(fail.TemplateUnusable, "damaged")
	}
	if err := errors.Join(os.MkdirAll(m.Dir, 0o700), d.set(m, drivers.Running)); err != nil {
		return drivers.Status{}, err
	}
	return d.Status(ctx, m)
}

func (d forkingDriver) Line(context.Context, drivers.Machine) (io.ReadWriteCloser, error) {
	return silence{}, d.w.call("line")
}

// silence is a line at whose other end nobody is.
type silence struct{}

func (silence) Read([]byte) (int, error)    { return 0, io.EOF }
func (silence) Write(p []byte) (int, error) { return len(p), nil }
func (silence) Close() error                { return nil }

// forking is a manager whose driver can fork, in a new process of dory.
func (w *world) forking() *Manager {
	m := w.manager()
	entry := w.entry()
	entry.Capabilities.Fork = true
	entry.New = func(registry.Options) drivers.Driver { return forkingDriver{fakeDriver{w}} }
	m.parts.driver = func(string) (registry.Entry, error) { return entry, nil }
	m.parts.askFirst = asking(entry)
	m.parts.settle = func(ctx context.Context, _ Node) (string, error) { return "", errors.Join(w.call("settle"), ctx.Err()) }
	m.parts.renew = func(ctx context.Context, _ io.ReadWriteCloser, _ string, _ provision.Settings, _ *pki.Authority, id provision.Identity, _ []string, _ time.Duration) error {
		if id.Hostname == "" || id.AuthorizedKey == "" || len(id.HostKey) == 0 {
			return errors.New("an identity lacks something")
		}
		return errors.Join(w.call("renew"), ctx.Err())
	}
	return m
}

func (w *world) forkOne(name string, flags ...string) error {
	_, err := w.forking().Start(context.Background(), name, w.wanted(flags...))
	return err
}

func TestTheFirstStartMakesATemplateAndAllFork(t *testing.T) {
	w := newWorld(t)
	for _, name := range []string{"one", "two"} {
		if err := w.forkOne(name); err != nil {
			t.Fatal(err)
		}
	}
	if w.count("provision") != 1 || w.count("freeze") != 1 || w.count("fork") != 2 || w.count("renew") != 2 {
		t.Errorf("calls: %v", w.calls)
	}
	templates, err := w.forking().Templates()
	if err != nil || len(templates) != 1 || strings.Join(templates[0].Clusters, " ") != "one two" {
		t.Fatalf("%+v, %v", templates, err)
	}
	one, _ := w.forking().look("one")
	two, _ := w.forking().look("two")
	if one.Phase != Made || one.Template != templates[0].Key || one.HostKey == two.HostKey || one.Machine.UUID == two.Machine.UUID {
		t.Errorf("records: %+v, %+v", one, two)
	}
	for _, name := range []string{pkiDir, sshKeyFile} {
		if _, err := os.Stat(templates[0].files.path(name)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the template keeps its %s: %v", name, err)
		}
	}
	// Another configuration, another template; none, on request.
	if err := errors.Join(w.forkOne("three", "cpus=3"), w.forkOne("four", "no-template=true")); err != nil {
		t.Fatal(err)
	}
	if w.count("freeze") != 2 || w.count("fork") != 3 || w.count("start") != 3 {
		t.Errorf("calls: %v", w.calls)
	}
}

// Each part of a start in turn is interrupted; the next start makes everything anew, and delete leaves nothing.
func TestForksAreInterrupted(t *testing.T) {
	for _, part := range []string{"create", "start", "dial", "provision", "settle", "freeze", "fork", "line", "renew"} {
		t.Run(part, func(t *testing.T) {
			w := newWorld(t)
			ctx, cancel := context.WithCancel(context.Background())
			w.on[part] = func() error { cancel(); return ctx.Err() }
			if _, err := w.forking().Start(ctx, "dory", w.wanted()); !fail.Is(err, fail.Interrupted) {
				t.Errorf("interrupted: %v", err)
			}
			if half, _ := filepath.Glob(filepath.Join(w.dirs.Cache, templatesDir, "*"+makingSuffix)); half != nil {
				t.Errorf("left: %v", half)
			}
			delete(w.on, part)
			if err := w.forkOne("dory"); err != nil {
				t.Fatal(err)
			}
			if _, err := w.forking().Delete(context.Background(), "dory"); err != nil || len(w.left()) != 0 {
				t.Errorf("%v, left: %v", err, w.left())
			}
		})
	}
}

// The machine of a template's making ends while it comes to rest: that is what the start says, not what it led to.
func TestMachineOfAMakingEnds(t *testing.T) {
	w := newWorld(t)
	w.on["settle"] = func() error {
		states, _ := filepath.Glob(filepath.Join(w.dirs.Cache, templatesDir, "*"+makingSuffix, machineDir, "state"))
		if len(states) != 1 {
			t.Fatalf("machines in the making: %v", states)
		}
		fakeDriver{w}.set(drivers.Machine{Dir: filepath.Dir(states[0])}, drivers.Stopped)
		return fail.New(fail.GuestCommand, "connection lost")
	}
	if err := w.forkOne("dory"); !fail.Is(err, fail.MachineEnded) {
		t.Error(err)
	}
	// Its machine is gone; what it has said is kept for 'dory logs'.
	if text, err := os.ReadFile(w.manager().files("dory").path(makingConsole)); err != nil || !strings.Contains(string(text), "the node image starts") {
		t.Errorf("the console that is kept: %q, %v", text, err)
	}
}

// What a dory that was killed while it made a template has left is found by the next delete, and by the next start.
func TestWhatAKilledMakingLeavesIsSwept(t *testing.T) {
	w := newWorld(t)
	m := w.forking()
	making := files{m.templatePath("0123.making")}
	machine := drivers.Machine{UUID: newUUID(), Dir: making.path(machineDir)}
	err := errors.Join(os.MkdirAll(machine.Dir, 0o700), making.saveMachine(&Record{Driver: "fake", Machine: machine}),
		fakeDriver{w}.set(machine, drivers.Running), w.forkOne("dory"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Delete(context.Background(), "dory"); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(making.dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it is still there: %v", err)
	}
}

func TestADamagedTemplateIsMadeAnewOnce(t *testing.T) {
	w := newWorld(t)
	if err := w.forkOne("one"); err != nil {
		t.Fatal(err)
	}
	templates, _ := w.forking().Templates()
	spoiled := filepath.Join(templates[0].files.path(frozenDir), "state")
	if err := os.WriteFile(spoiled, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := w.forkOne("two"); err != nil {
		t.Fatal(err)
	}
	if w.count("freeze") != 2 {
		t.Errorf("calls: %v", w.calls)
	}
	w.on["fork"] = func() error { return fail.New(fail.TemplateUnusable, "always") }
	if err := w.forkOne("three"); !fail.Is(err, fail.TemplateUnusable) {
		t.Errorf("a template that can never be forked: %v", err)
	}
}

// Who ends a fork's machine says nothing about the template.
func TestAForkThatIsEndedIsForkedAgain(t *testing.T) {
	w := newWorld(t)
	if err := w.forkOne("one"); err != nil {
		t.Fatal(err)
	}
	w.on["fork"] = func() error {
		delete(w.on, "fork")
		return fail.New(fail.TemplateUnusable, "ended")
	}
	if err := w.forkOne("two"); err != nil {
		t.Fatal(err)
	}
	if w.count("freeze") != 1 || w.count("fork") != 3 {
		t.Errorf("calls: %v", w.calls)
	}
}

func TestPruneKeepsWhatIsInUse(t *testing.T) {
	w := newWorld(t)
	if err := errors.Join(w.forkOne("one"), w.forkOne("two", "cpus=3"), w.forkOne("three", "cpus=4")); err != nil {
		t.Fatal(err)
	}
	m := w.forking()
	for _, name := range []string{"two", "three"} {
		if _, err := m.Delete(context.Background(), name); err != nil {
			t.Fatal(err)
		}
	}
	templates, err := m.Templates()
	if err != nil || len(templates) != 3 {
		t.Fatalf("%v, %v", templates, err)
	}
	var cpus4 *Template
	for _, found := range templates {
		age := time.Duration(found.Spec.CPUs) * time.Hour
		at := time.Now().Add(-age)
		os.Chtimes(found.files.path(templateFile), at, at)
		if found.Spec.CPUs == 4 {
			cpus4 = found
		}
	}
	removed, err := m.PruneTemplates(context.Background(), templates[0].Size+templates[1].Size+templates[2].Size-1)
	if err != nil || len(removed) != 1 || removed[0].Key != cpus4.Key {
		t.Errorf("to one byte less: %v, %v", removed, err)
	}
	if removed, err = m.PruneTemplates(context.Background(), 0); err != nil || len(removed) != 1 || removed[0].Spec.CPUs != 3 {
		t.Errorf("to nothing: %v, %v", removed, err)
	}
	if _, err := m.DeleteTemplate(context.Background(), "no such"); !fail.Is(err, fail.NoTemplate) {
		t.Errorf("an unknown key: %v", err)
	}
}
