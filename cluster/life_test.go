package cluster

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dorykube/dory/drivers"
	"github.com/dorykube/dory/internal/fail"
)

func (w *world) eventually(f func() bool) {
	w.t.Helper()
	for began := time.Now(); !f(); time.Sleep(10 * time.Millisecond) {
		if time.Since(began) > 20*time.Second {
			w.t.Error("it did not come to pass")
			return
		}
	}
}

func TestStatusInEveryState(t *testing.T) {
	w := newWorld(t)
	status := func() Status {
		t.Helper()
		s, err := w.manager().Status(context.Background(), "dory")
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	if s := status(); s.Host != "Nonexistent" || s.ExitCode() != 7 {
		t.Errorf("%+v", s)
	}
	if err := w.start(); err != nil {
		t.Fatal(err)
	}
	if s := status(); s.Host != "Running" || s.APIServer != "Running" || s.Kubelet != "Running" || s.Kubeconfig != "Configured" || s.ExitCode() != 0 {
		t.Errorf("%+v", s)
	}
	w.on["ready"] = func() error { return errors.New("etcd is gone") }
	if s := status(); s.APIServer != "Error" || s.ExitCode() != 2 || !strings.Contains(strings.Join(s.Reasons, ""), "etcd is gone") {
		t.Errorf("%+v", s)
	}
	w.on["ready"] = func() error { return context.DeadlineExceeded }
	if s := status(); s.APIServer != "Unknown" || s.ExitCode() != 2 {
		t.Errorf("%+v", s)
	}
	delete(w.on, "ready")
	w.behind = 5 * time.Minute
	if s := status(); s.ExitCode() != 0 || !strings.Contains(strings.Join(s.Reasons, ""), "clock is 5m0s behind") {
		t.Errorf("%+v", s)
	}
	w.lent = true
	if s := status(); !strings.Contains(strings.Join(s.Reasons, ""), "set it there") || strings.Contains(strings.Join(s.Reasons, ""), "dory start") {
		t.Errorf("of somebody's own machine: %+v", s)
	}
	w.lent = false
	w.behind = 0
	os.Remove(os.Getenv("KUBECONFIG"))
	if s := status(); s.Kubeconfig != "Misconfigured" || s.ExitCode() != 4 {
		t.Errorf("%+v", s)
	}
	if changed, err := w.manager().UpdateContext(context.Background(), "dory"); err != nil || !changed || status().ExitCode() != 0 {
		t.Error(changed, err)
	}
	machine := w.record().Machine
	for state, code := range map[drivers.State]int{drivers.Paused: 3, drivers.Stopped: 7, drivers.Unknown: 7} {
		fakeDriver{w}.set(machine, state)
		if s := status(); s.Host != string(state) || s.ExitCode() != code && state != drivers.Unknown || s.ExitCode() == 0 {
			t.Errorf("%s: %+v exit %d", state, s, s.ExitCode())
		}
	}
}

// Each file of the cluster's directory in turn is truncated, garbled or lost: delete works all the same.
func TestDeleteOfWrecks(t *testing.T) {
	w := newWorld(t)
	if err := w.start(); err != nil {
		t.Fatal(err)
	}
	names := []string{}
	dir := w.manager().files("dory").dir
	filepath.WalkDir(dir, func(path string, entry fs.DirEntry, _ error) error {
		if !entry.IsDir() && filepath.Base(path) != "state" {
			name, _ := filepath.Rel(dir, path)
			names = append(names, name)
		}
		return nil
	})
	w.deleted()
	if !slices.Contains(names, recordFile) || !slices.Contains(names, machineFile) {
		t.Fatal(names)
	}
	for _, name := range names {
		for how, damage := range map[string]func(path string) error{
			"truncated": func(path string) error { return os.Truncate(path, 10) },
			"garbled":   func(path string) error { return os.WriteFile(path, []byte("\x00{garbage"), 0o600) },
			"lost":      os.Remove,
		} {
			if err := w.start(); err != nil {
				t.Fatal(err)
			}
			if err := damage(filepath.Join(dir, name)); err != nil {
				t.Fatal(err)
			}
			deletes := w.count("delete")
			if name == recordFile {
				for verb, err := range map[string]error{"start": w.start(), "status": statusError(w)} {
					if !fail.Is(err, fail.RecordCorrupt) || !strings.Contains(err.Error(), recordFile) {
						t.Errorf("%s with a record that is %s: %v", verb, how, err)
					}
				}
				if rows, err := w.manager().List(context.Background(), true); err != nil || len(rows) != 1 || rows[0].Status != HostError {
					t.Errorf("%+v, %v", rows, err)
				}
			}
			w.deleted()
			if w.count("delete") != deletes+1 {
				t.Errorf("%s %s: the machine was not deleted", name, how)
			}
		}
	}
}

func statusError(w *world) error {
	_, err := w.manager().Status(context.Background(), "dory")
	return err
}

func TestRecordOfANewerDory(t *testing.T) {
	w := newWorld(t)
	if err := w.start(); err != nil {
		t.Fatal(err)
	}
	path := w.manager().files("dory").path(recordFile)
	text, _ := os.ReadFile(path)
	os.WriteFile(path, []byte(strings.Replace(string(text), `"version": 2`, `"version": 3`, 1)), 0o600)
	if err := w.start(); !fail.Is(err, fail.RecordNewer) {
		t.Error(err)
	}
	w.deleted()
}

func TestDeleteKeepsTheRecordUntilTheMachineIsGone(t *testing.T) {
	w := newWorld(t)
	if err := w.start(); err != nil {
		t.Fatal(err)
	}
	w.on["delete"] = func() error { return errors.New("it does not die") }
	if _, err := w.manager().Delete(context.Background(), "dory"); err == nil {
		t.Error("it succeeded")
	}
	w.record()
	delete(w.on, "delete")
	w.deleted()
	if existed, err := w.manager().Delete(context.Background(), "dory"); existed || err != nil {
		t.Error(existed, err)
	}
}

func TestLockSaysWhoHoldsIt(t *testing.T) {
	w := newWorld(t)
	h, err := w.manager().hold(context.Background(), "dory", "start")
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	_, err = w.manager().hold(context.Background(), "dory", "delete")
	if !fail.Is(err, fail.ClusterBusy) || !strings.Contains(err.Error(), "dory start") || time.Since(began) < lockWait {
		t.Error(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	if _, err := w.manager().hold(ctx, "dory", "stop"); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	// Who waits gets a lock that counts, also when the file is removed meanwhile.
	go func() { time.Sleep(100 * time.Millisecond); h.lock.remove() }()
	other, err := w.manager().hold(context.Background(), "dory", "start")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(other.files.lock()); err != nil {
		t.Error(err)
	}
	other.release()
}

// Who waited for a delete finds no cluster, and leaves no lock's file; nor does a delete after one that was killed last of all.
func TestNothingIsLeftOfTheLock(t *testing.T) {
	w := newWorld(t)
	for verb, do := range map[string]func(m *Manager) error{
		"stop":   func(m *Manager) error { _, err := m.Stop(context.Background(), "dory", StopOptions{}); return err },
		"delete": func(m *Manager) error { _, err := m.Delete(context.Background(), "dory"); return err },
	} {
		if err := w.start(); err != nil {
			t.Fatal(err)
		}
		h, err := w.manager().hold(context.Background(), "dory", "delete")
		if err != nil {
			t.Fatal(err)
		}
		waiter := make(chan error)
		go func() { waiter <- do(w.manager()) }()
		time.Sleep(200 * time.Millisecond)
		if err := h.removeAll(context.Background()); err != nil {
			t.Fatal(err)
		}
		h.release()
		if err := <-waiter; err != nil && !fail.Is(err, fail.NoCluster) {
			t.Errorf("%s: %v", verb, err)
		}
		if left := w.left(); len(left) > 0 {
			t.Errorf("%s has left %v", verb, left)
		}
	}
	path := w.manager().files("dory").lock()
	if err := os.WriteFile(path, []byte("123 dory delete"), 0o600); err != nil {
		t.Fatal(err)
	}
	w.deleted()
}

func TestVerbsOnAClusterThatIsNotThere(t *testing.T) {
	w := newWorld(t)
	m, ctx := w.manager(), context.Background()
	_, stop := m.Stop(ctx, "dory", StopOptions{})
	_, pause := m.Pause(ctx, "dory")
	_, login := m.Login(ctx, "dory", "")
	_, _, kubectl := m.Kubectl(ctx, "dory")
	_, update := m.UpdateContext(ctx, "dory")
	for i, err := range []error{stop, pause, login, kubectl, update} {
		if !fail.Is(err, fail.NoCluster) {
			t.Error(i, err)
		}
	}
	if left := w.left(); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	if err := w.start(); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Login(ctx, "dory", "other"); !fail.Is(err, fail.GuestMissing) {
		t.Error(err)
	}
}
