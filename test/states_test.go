//go:build vm

package test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// statusSays waits for what status is to say: a machine that is slow is called unknown meanwhile.
func (d *dory) statusSays(code int, lines ...string) {
	d.t.Helper()
	d.eventually("status says so", time.Minute, func() error {
		r := d.run(commandLimit, "status")
		if r.code != code {
			return fmt.Errorf("it exits with %d instead of %d: %s%s", r.code, code, r.stdout, r.stderr)
		}
		for _, line := range lines {
			if !strings.Contains(r.stdout, line) {
				return fmt.Errorf("it lacks %q:\n%s", line, r.stdout)
			}
		}
		return nil
	})
}

func pause(t *testing.T, d *dory) {
	d.must(commandLimit, "pause")
	d.statusSays(3, "host: Paused")
	time.Sleep(5 * time.Second)
	d.must(commandLimit, "unpause")
	clockIsRight(t, d, "dory")
	d.eventually("the API server answers again", time.Minute, func() error {
		if r := d.run(commandLimit, "status"); r.code != 0 {
			return errorString(r.stdout + r.stderr)
		}
		return nil
	})
}

// clock: one that was left behind, as after the host slept, is told of, and set by the next start; or by the node itself.
func clock(t *testing.T, d *dory) {
	behind := func() { d.must(commandLimit, "ssh", "--", "date -s @$(($(date +%s) - 60))") }
	behind()
	if r := d.run(commandLimit, "status"); r.code != 0 || !strings.Contains(r.stdout+r.stderr, "behind") {
		t.Errorf("status does not tell of the clock: exit %d\n%s%s", r.code, r.stdout, r.stderr)
	}
	d.must(commandLimit, "start")
	clockIsRight(t, d, "dory")
	behind()
	d.eventually("the node sets its clock", 2*time.Minute, func() error {
		return clockError(d, "dory")
	})
}

func stopAndStart(t *testing.T, d *dory) {
	server := d.server()
	d.must(startLimit, "stop")
	if left := d.processes(); len(left) != 0 {
		t.Errorf("after stop there are processes %v", left)
	}
	d.statusSays(7, "host: Stopped", "apiserver: Stopped")
	d.must(commandLimit, "stop") // again: success
	t.Log(d.expect(0, startLimit, "start").stderr)
	if now := d.server(); now != server {
		t.Errorf("the API server was at %s and is at %s", server, now)
	}
	d.everythingIsBack()
}

func killedMachine(t *testing.T, d *dory) {
	for _, pid := range d.processes() {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	d.eventually("status tells", time.Minute, func() error {
		if r := d.run(commandLimit, "status"); r.code == 0 || !strings.Contains(r.stdout, "host: Stopped") {
			return errorString(r.stdout)
		}
		return nil
	})
	t.Log(d.expect(0, startLimit, "start").stderr)
	d.everythingIsBack()
}

// hungMachine freezes the hypervisor: status must not hang with it.
func hungMachine(t *testing.T, d *dory) {
	pids := d.processes()
	if len(pids) != 1 {
		t.Fatalf("machines: %v", pids)
	}
	for _, pid := range pids {
		syscall.Kill(pid, syscall.SIGSTOP)
	}
	r := d.run(commandLimit, "status")
	for _, pid := range pids {
		syscall.Kill(pid, syscall.SIGCONT)
	}
	if r.code == 0 || r.took > 10*time.Second { // 3 s is promised; the machine may be loaded
		t.Errorf("status of a hung machine: exit %d after %v: %s", r.code, r.took, r.stdout)
	}
	if strings.Contains(r.stdout, "host: Running") {
		t.Errorf("a hung machine is called running: %s", r.stdout)
	}
}

func deleteLeavesNothing(t *testing.T, d *dory) {
	d.must(commandLimit, "delete")
	d.must(commandLimit, "delete") // again: success
	if left := d.processes(); len(left) != 0 {
		t.Errorf("processes left: %v", left)
	}
	filepath.WalkDir(filepath.Join(d.home, "state"), func(path string, entry os.DirEntry, err error) error {
		if err == nil && !entry.IsDir() && !strings.HasSuffix(path, ".lock") {
			t.Errorf("left behind: %s", path)
		}
		return nil
	})
	content, err := os.ReadFile(d.kubeconfig())
	if err != nil {
		t.Fatal(err)
	}
	text := string(content)
	for _, kept := range []string{"name: work", "server: https://127.0.0.1:1", "token: secret", "name: me"} {
		if !strings.Contains(text, kept) {
			t.Errorf("the kubeconfig lost %q:\n%s", kept, text)
		}
	}
	if strings.Contains(text, "dory") {
		t.Errorf("the kubeconfig still names the cluster:\n%s", text)
	}
	d.statusSays(7)
}
