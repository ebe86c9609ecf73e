package drivertest

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dorykube/dory/drivers"
	"github.com/dorykube/dory/internal/fail"
)

// tmpFile is lost at every boot, unlike keptFile.
const tmpFile = "/run/kept"

// lives makes a process in the machine that only memory knows of, and remains reports what is left of it.
const (
	lives   = "echo memory > " + tmpFile + "; nohup sleep 86399 > /dev/null 2>&1 & sync"
	remains = "cat " + tmpFile + " 2> /dev/null; pgrep -cf '^sleep 86399'; true"
)

// snapshots: a machine that is frozen and forked, and one that is saved and resumed. Its stages follow each other, to save
// boots.
func (s *Suite) snapshots(t *testing.T) {
	if _, ok := s.New(t).(drivers.Forker); ok {
		t.Run("Forks", s.forks)
	}
	if _, ok := s.New(t).(drivers.Saver); ok {
		t.Run("Saved", s.saved)
	}
}

// What remains after a boot, and without one.
const nothingRemains, everythingRemains = "0", "memory\n1"

func (r *rig) freeze(dir string) {
	r.t.Helper()
	began := time.Now()
	r.must("freeze", r.driver.(drivers.Freezer).Freeze(r.t.Context(), r.machine, dir))
	r.t.Logf("freeze       %.2fs", time.Since(began).Seconds())
	r.is(drivers.Absent)
	r.must("delete what is left of the frozen machine", r.driver.Delete(r.t.Context(), r.machine))
	err := filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if info, err := entry.Info(); err != nil || info.Mode().Perm()&0o077 != 0 {
			r.t.Errorf("others may use %s: %v, %v", path, info, err)
		}
		return nil
	})
	r.must("look at the frozen machine", err)
}

// fork forks the frozen machine. Until its next boot, one logs in with the frozen machine's key.
func (r *rig) fork(template *rig, dir string) (drivers.Status, error) {
	began := time.Now()
	status, err := r.driver.(drivers.Forker).Fork(r.t.Context(), r.machine, dir)
	r.t.Logf("fork         %.2fs", time.Since(began).Seconds())
	return status, err
}

// answers leaves a process in the machine that waits at the machine's line for a word and answers, once.
const answers = `modprobe virtio_console
until port=$(grep -l ` + drivers.LineName + ` /sys/class/virtio-ports/*/name); do sleep 0.1; done
nohup sh -c 'exec 3<> /dev/$0; until read -r word <&3; do sleep 0.1; done; echo heard $word >&3' $(basename $(dirname $port)) > /dev/null 2>&1 &`

// answers talks to what the frozen machine has left waiting.
func (r *rig) answers() {
	r.t.Helper()
	line, err := r.driver.(drivers.Forker).Line(r.t.Context(), r.machine)
	r.must("connect to the line", err)
	defer line.Close()
	_, err = io.WriteString(line, r.machine.Name+"\n")
	r.must("write to the line", err)
	done := time.AfterFunc(time.Minute, func() { line.Close() })
	defer done.Stop()
	got, err := bufio.NewReader(line).ReadString('\n')
	if want := "heard " + r.machine.Name + "\n"; got != want {
		r.t.Errorf("on its line %s said %q, %v", r.machine.Name, got, err)
	}
}

func (s *Suite) forks(t *testing.T) {
	template := s.rig(t, "template")
	template.machine.Freezable = true
	template.create()
	template.sh(template.start(), "echo disk > "+keptFile+"; "+lives+"; "+answers)
	dir := filepath.Join(t.TempDir(), "a, frozen")
	template.freeze(dir)

	rigs := []*rig{s.rig(t, "one"), s.rig(t, "two")}
	statuses := make([]drivers.Status, len(rigs))
	var all sync.WaitGroup
	for i, r := range rigs {
		all.Go(func() {
			var err error
			if statuses[i], err = r.fork(template, dir); err != nil {
				t.Error(err, fail.As(err).Evidence)
			}
		})
	}
	all.Wait()
	if t.Failed() {
		return
	}
	for i, r := range rigs {
		r.runs(statuses[i])
		r.runs(r.is(drivers.Running))
		as := *r
		as.signer = template.signer
		if got := as.sh(statuses[i], "hostname; cat "+keptFile+"; "+remains); got != "template\ndisk\n"+everythingRemains {
			t.Errorf("fork %s has %q", r.machine.Name, got)
		}
		as.sh(statuses[i], "echo "+r.machine.Name+" >> "+keptFile+"; sync")
		r.answers()
	}
	if statuses[0].SSH == statuses[1].SSH {
		t.Errorf("both forks have %s", statuses[0].SSH)
	}
	if _, err := rigs[0].fork(template, dir); err == nil {
		t.Error("a machine that exists can be forked into")
	}
	s.unforkable(t, template, dir)
	template.must("delete the frozen machine", os.RemoveAll(dir))
	// A fork is a machine like any other now.
	r := rigs[0]
	r.must("stop", r.driver.Stop(t.Context(), r.machine, stopLimit))
	r.is(drivers.Stopped)
	r.machine.Disk *= 2
	r.create()
	status := r.start()
	if got := r.sh(status, "hostname; cat "+keptFile+"; "+remains); got != "one\ndisk\none\n"+nothingRemains {
		t.Errorf("a fork that was powered off has %q", got)
	}
	two := *rigs[1]
	two.signer = template.signer
	if got := two.sh(two.is(drivers.Running), "cat "+keptFile); got != "disk\ntwo" {
		t.Errorf("the other fork has %q", got)
	}
	two.saveAndResume()
}

// unforkable: a frozen machine that is damaged is told from one whose fork lacks something else. Neither leaves anything.
func (s *Suite) unforkable(t *testing.T, template *rig, dir string) {
	r := s.rig(t, "unforkable")
	try := func(what string, kind fail.Kind) {
		t.Helper()
		_, err := r.fork(template, dir)
		if !fail.Is(err, kind) || fail.As(err).Evidence == "" {
			t.Errorf("fork with %s: %v, want %s with evidence", what, err, kind.ID)
		}
		r.is(drivers.Absent)
		if _, err := os.Stat(r.machine.Dir); err == nil {
			t.Errorf("fork with %s: the machine's directory is left", what)
		}
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	r.must("listen", err)
	r.machine.Forwards[1].Host = taken.Addr().(*net.TCPAddr).Port
	try("a taken port", fail.PortTaken)
	taken.Close()
	r.machine.CPUs++
	try("other hardware", fail.TemplateUnusable)
	r.machine.CPUs--
	for _, path := range filesOf(t, dir) {
		restore := damage(t, path)
		try("a damaged "+filepath.Base(path), fail.TemplateUnusable)
		restore()
		r.must("take away "+path, os.Rename(path, path+".away"))
		try("no "+filepath.Base(path), fail.TemplateUnusable)
		r.must("put back "+path, os.Rename(path+".away", path))
	}
}

func filesOf(t *testing.T, dir string) (paths []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) == 0 {
		t.Fatalf("no files in %s: %v", dir, err)
	}
	for _, e := range entries {
		paths = append(paths, filepath.Join(dir, e.Name()))
	}
	return paths
}

// damage takes away a file's last bytes. A disk or memory of which a bit is damaged is not noticed: it is too large to be read.
func damage(t *testing.T, path string) (restore func()) {
	t.Helper()
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		t.Fatal(err)
	}
	last := make([]byte, 16)
	_, err = file.ReadAt(last, info.Size()-16)
	if err = errors.Join(err, file.Truncate(info.Size()-16)); err != nil {
		t.Fatal(err)
	}
	return func() {
		file, err := os.OpenFile(path, os.O_RDWR, 0)
		if err == nil {
			_, err = file.WriteAt(last, info.Size()-16)
			err = errors.Join(err, file.Close(), os.Chtimes(path, info.ModTime(), info.ModTime()))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// damageState is Suite.Damage for drivers that save into the machine's directory, as it is now.
func damageState(t *testing.T, dir string) func(*testing.T, drivers.Machine) {
	before := filesOf(t, dir)
	return func(t *testing.T, _ drivers.Machine) {
		for _, path := range filesOf(t, dir) {
			if !slices.Contains(before, path) && strings.Contains(filepath.Base(path), "state") {
				damage(t, path)
			}
		}
	}
}

func (r *rig) save() {
	r.t.Helper()
	began := time.Now()
	r.must("save", r.driver.(drivers.Saver).Save(r.t.Context(), r.machine))
	r.t.Logf("save         %.2fs", time.Since(began).Seconds())
	if status := r.is(drivers.Stopped); status.Reason != "" {
		r.t.Errorf("a saved machine died of %q", status.Reason)
	}
}

// saveAndResume saves the machine and lets it go on: nothing is lost.
func (r *rig) saveAndResume() {
	r.t.Helper()
	r.save()
	began := time.Now()
	status := r.start()
	r.t.Logf("resume       %.2fs", time.Since(began).Seconds())
	if !status.Resumed || status.NotResumed != "" || status.Accel == "" {
		r.t.Errorf("a saved machine started as %+v", status)
	}
	if got := r.sh(r.is(drivers.Running), remains); got != everythingRemains {
		r.t.Errorf("a resumed machine has %q", got)
	}
}

// saved: a machine that is saved more than once, and one whose saved state is of no use.
func (s *Suite) saved(t *testing.T) {
	r := s.rig(t, "saved")
	if err := r.driver.(drivers.Saver).Save(t.Context(), r.machine); err == nil {
		t.Error("an absent machine can be saved")
	}
	r.create()
	if s.Damage == nil {
		s.Damage = damageState(t, r.machine.Dir)
	}
	r.sh(r.start(), lives)
	r.interruptedSaves()
	for range 2 {
		r.saveAndResume()
	}
	// What happens after a resume counts: what was saved before is never used again.
	r.sh(r.is(drivers.Running), "echo disk > "+keptFile+"; sync")
	if s.Kill != nil {
		s.Kill(t, r.is(drivers.Running))
		r.becomes(drivers.Stopped, 10*time.Second)
		status := r.start()
		if status.Resumed || status.NotResumed != "" {
			t.Errorf("a killed machine started as %+v", status)
		}
		if got := r.sh(status, "cat "+keptFile+"; "+remains); got != "disk\n"+nothingRemains {
			t.Errorf("a killed machine came back with %q", got)
		}
	}
	r.save()
	s.Damage(t, r.machine)
	status := r.start()
	t.Logf("not resumed: %s", status.NotResumed)
	if status.Resumed || status.NotResumed == "" {
		t.Errorf("a machine whose saved state is damaged started as %+v", status)
	}
	if got := r.sh(status, "cat "+keptFile+"; "+remains); got != "disk\n"+nothingRemains {
		t.Errorf("a machine whose saved state is damaged came back with %q", got)
	}
	r.save()
	r.must("stop", r.driver.Stop(t.Context(), r.machine, stopLimit))
	if status := r.start(); status.Resumed || status.NotResumed != "" {
		t.Errorf("a machine that was saved and then stopped started as %+v", status)
	}
}

// interruptedSaves: a machine that was not saved in time goes on, as long as it has not ended.
func (r *rig) interruptedSaves() {
	r.t.Helper()
	for _, after := range []time.Duration{0, 2 * time.Millisecond, 10 * time.Millisecond, 60 * time.Millisecond} {
		ctx, cancel := context.WithTimeout(r.t.Context(), after)
		err := r.driver.(drivers.Saver).Save(ctx, r.machine)
		cancel()
		if err == nil {
			r.is(drivers.Stopped)
			r.start()
			continue
		}
		if !errors.Is(err, context.DeadlineExceeded) {
			r.t.Errorf("save, cancelled after %v: %v", after, err)
		}
		if got := r.sh(r.is(drivers.Running), remains); got != everythingRemains {
			r.t.Errorf("save, cancelled after %v: what remains is %q", after, got)
		}
	}
}
