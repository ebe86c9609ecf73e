//go:build vm

package test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestInterruptedInEveryStep interrupts a start at each of its steps, one after the other, by Ctrl-C and by SIGKILL in turn,
// going on each time.
func TestInterruptedInEveryStep(t *testing.T) {
	onlyInAll(t)
	d := newDory(t)
	var seen []string
	for {
		signal := []syscall.Signal{syscall.SIGINT, syscall.SIGKILL}[len(seen)%2]
		step, code := d.interrupted(signal, seen, "--no-template")
		if step == "" {
			if code != 0 {
				t.Fatalf("the last start exits with %d", code)
			}
			break
		}
		seen = append(seen, step)
		// The step may have been the last moments of a start that ended well.
		if code == 0 {
			continue
		}
		if signal == syscall.SIGINT && code != 2 {
			t.Errorf("interrupted in step %s: exit %d", step, code)
		}
		if r := d.run(commandLimit, "status"); r.code > 7 || r.took > time.Minute {
			t.Errorf("status after the interruption: exit %d after %v", r.code, r.took)
		}
	}
	if len(seen) < 5 {
		t.Errorf("only the steps %v were interrupted", seen)
	}
	d.kubectl("get", "node", "dory")
	if pids := d.processes(); len(pids) != 1 {
		t.Errorf("machines: %v", pids)
	}
}

// TestSettings starts a cluster with everything that can be chosen, and looks whether it took.
func TestSettings(t *testing.T) {
	onlyInAll(t)
	d := newDory(t)
	d.expect(0, startLimit, "start", "-p", "chosen", "--no-template",
		"--service-cluster-ip-range", "10.112.0.0/16", "--dns-domain", "example.test",
		"--apiserver-names", "api.example.test", "--apiserver-ips", "127.0.0.9",
		"--feature-gates", "ContextualLogging=true",
		"--extra-config", "apiserver.event-ttl=2h0m0s", "--extra-config", "kubelet.max-pods=42")
	kubectl := func(args ...string) string {
		return d.must(commandLimit, append([]string{"-p", "chosen", "kubectl", "--"}, args...)...)
	}
	if ip := kubectl("get", "service", "kubernetes", "-o", "jsonpath={.spec.clusterIP}"); ip != "10.112.0.1" {
		t.Errorf("the kubernetes service has %s", ip)
	}
	if pods := kubectl("get", "node", "dory", "-o", "jsonpath={.status.capacity.pods}"); pods != "42" {
		t.Errorf("the kubelet takes %s pods", pods)
	}
	if corefile := kubectl("-n", "kube-system", "get", "configmap", "coredns", "-o", "jsonpath={.data.Corefile}"); !strings.Contains(corefile, "kubernetes example.test") {
		t.Errorf("the Corefile: %s", corefile)
	}
	if server := kubectl("get", "--raw", "/readyz", "--tls-server-name", "api.example.test"); server != "ok" {
		t.Errorf("by its other name: %q", server)
	}
	flags := d.must(commandLimit, "-p", "chosen", "ssh", "--", "tr '\\0' '\\n' </proc/$(systemctl show -P MainPID kube-apiserver)/cmdline")
	for _, flag := range []string{"--event-ttl=2h0m0s", "--feature-gates=ContextualLogging=true"} {
		if !strings.Contains(flags, flag) {
			t.Errorf("the API server runs without %s", flag)
		}
	}
}

// TestDiskFull puts the home onto a small file system: too small to begin with, and full once the guest runs.
func TestDiskFull(t *testing.T) {
	t.Run("before", func(t *testing.T) { diskFull(t, "16m", func(*dory) {}) })
	t.Run("while the disk grows", func(t *testing.T) {
		// Without a template: making one asks for the room of its memory before there is a machine.
		diskFull(t, "320m", func(d *dory) {
			for began := time.Now(); len(d.processes()) == 0; time.Sleep(50 * time.Millisecond) {
				if time.Since(began) > time.Minute {
					t.Error("no machine")
					return
				}
			}
			var fs syscall.Statfs_t
			if err := syscall.Statfs(d.home, &fs); err != nil {
				t.Error(err)
			}
			filler := make([]byte, max(0, int64(fs.Bavail)*fs.Bsize-4<<20))
			if err := os.WriteFile(filepath.Join(d.home, "filler"), filler, 0o600); err != nil {
				t.Error(err)
			}
		}, "--no-template")
	})
}

// diskFull starts a cluster on a file system of the size; meanwhile is done while it
// starts; it runs on a goroutine of its own, and so reports with Error, not with Fatal.
func diskFull(t *testing.T, size string, meanwhile func(*dory), flags ...string) {
	d := newDory(t)
	dir := t.TempDir()
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size="+size+",mode=0700", "tmpfs", dir).CombinedOutput(); err != nil {
		t.Fatalf("mount a small file system: %v: %s", err, out)
	}
	small := &dory{t: t, home: dir, env: append(d.env, "DORY_HOME="+dir)}
	t.Cleanup(func() {
		small.run(commandLimit, "delete", "--all")
		if out, err := exec.Command("umount", dir).CombinedOutput(); err != nil {
			t.Errorf("umount: %v: %s", err, out)
		}
	})
	if artifacts, err := os.Readlink(filepath.Join(d.home, "cache", "artifacts")); err == nil {
		os.Mkdir(filepath.Join(dir, "cache"), 0o700)
		os.Symlink(artifacts, filepath.Join(dir, "cache", "artifacts"))
	}
	done := make(chan struct{})
	go func() { meanwhile(small); close(done) }()
	r := small.expect(26, startLimit, append([]string{"start", "--wait-timeout", "5m"}, flags...)...)
	<-done
	if !strings.Contains(r.stderr, "RSRC_DISK") {
		t.Errorf("the error does not say that the disk is full: %s", r.stderr)
	}
	t.Log(r.stderr)
	small.must(commandLimit, "delete")
	if left := small.processes(); len(left) != 0 {
		t.Errorf("processes left: %v", left)
	}
}
