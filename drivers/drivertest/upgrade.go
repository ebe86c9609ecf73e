package drivertest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dorykube/dory/drivers"
	"github.com/dorykube/dory/internal/fail"
)

// Upgraded checks what becomes of the suite's machines when the driver finds another version of the hypervisor, and then the old one
// again: nothing is lost, and what cannot go on says why. The driver is one that can fork and save.
func Upgraded(t *testing.T, s Suite, after func(t *testing.T) drivers.Driver) {
	template := s.rig(t, "template")
	template.machine.Freezable = true
	template.create()
	template.sh(template.start(), "echo disk > "+keptFile+"; "+lives)
	dir := filepath.Join(t.TempDir(), "frozen")
	template.freeze(dir)
	r := s.rig(t, "one")
	status, err := r.fork(template, dir)
	r.must("fork", err)
	own := r.signer
	r.signer = template.signer // until it boots
	r.sh(status, "true")
	with := func(driver func(*testing.T) drivers.Driver) { r.New, r.driver = driver, driver(t) }
	before := s.New

	// What runs goes on, and what another version wrote down of it is its own: the old one can load it.
	r.Suite = &s
	with(after)
	r.sh(r.is(drivers.Running), "echo after >> "+keptFile+"; sync")
	again, err := r.driver.Start(t.Context(), r.machine)
	if r.must("start what runs", err); again.PID != r.is(drivers.Running).PID {
		t.Errorf("it was started anew: %+v", again)
	}
	r.save()
	with(before)
	status = r.start()
	if got := r.sh(status, remains); !status.Resumed || got != everythingRemains {
		t.Errorf("saved by the new version, with the old one again: %+v, %q", status, got)
	}

	// What was saved with the old version boots.
	r.sh(status, "echo saved >> "+keptFile+"; sync")
	r.save()
	with(after)
	status = r.start()
	t.Logf("not resumed: %s", status.NotResumed)
	if status.Resumed || status.NotResumed == "" || strings.Contains(status.NotResumed, "\n") {
		t.Errorf("a machine that another version saved started as %+v", status)
	}
	r.signer = own
	r.keeps(status, "disk\nafter\nsaved")

	// What is off boots with either.
	r.must("stop", r.driver.Stop(t.Context(), r.machine, stopLimit))
	with(before)
	status = r.start()
	if status.NotResumed != "" {
		t.Errorf("a machine that was off started as %+v", status)
	}
	r.keeps(status, "disk\nafter\nsaved")
	r.must("delete", r.driver.Delete(t.Context(), r.machine))

	// A frozen machine is its version's alone, and is not harmed by the other.
	with(after)
	if _, err := r.fork(template, dir); !fail.Is(err, fail.TemplateUnusable) || fail.As(err).Evidence == "" {
		t.Errorf("fork what another version froze: %v", err)
	}
	r.is(drivers.Absent)
	if _, err := os.Stat(r.machine.Dir); err == nil {
		t.Error("its directory is left")
	}
	with(before)
	status, err = r.fork(template, dir)
	r.must("fork with the old version again", err)
	r.signer = template.signer
	r.keeps(status, "disk")
}

// keeps looks at what is on the machine's disk.
func (r *rig) keeps(status drivers.Status, want string) {
	r.t.Helper()
	if got := r.sh(status, "cat "+keptFile); got != want {
		r.t.Errorf("on its disk %s has %q, want %q", r.machine.Name, got, want)
	}
}
