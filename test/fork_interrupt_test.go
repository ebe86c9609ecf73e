//go:build vm && forks

package test

import (
	"path/filepath"
	"syscall"
	"testing"
)

// steps of a start up to those that make a template of the node.
var untilSettled = []string{"artifacts", "machine", "boot", "files", "etcd", "runtime", "apiserver", "kubelet", "readyz",
	"controllers", "manifests", "node", "ready"}

// TestInterruptedFork kills the making of a template when it is all but done, and interrupts forks at each of their steps.
func TestInterruptedFork(t *testing.T) {
	d := newDory(t)
	if step, code := d.interrupted(syscall.SIGKILL, untilSettled); step != "settle" || code == 0 {
		t.Fatalf("killed in step %q, exit %d", step, code)
	}
	if files, _ := filepath.Glob(filepath.Join(d.home, "cache", "templates", "*", "template.json")); files != nil {
		t.Errorf("half a template: %v", files)
	}
	seen := append(untilSettled, "settle", "freeze")
	for _, signal := range []syscall.Signal{syscall.SIGKILL, syscall.SIGINT} {
		for _, want := range []string{"fork", "renew", "kubeconfig"} {
			step, code := d.interrupted(signal, seen)
			seen = append(seen, step)
			// Writing the kubeconfig takes some milliseconds: the start may have ended well before the signal came.
			if step != want || code == 0 && want != "kubeconfig" {
				t.Errorf("%v in step %q instead of %q: exit %d", signal, step, want, code)
			}
		}
		seen = seen[:len(untilSettled)+2]
	}
	d.expect(0, startLimit, "start")
	d.kubectl("get", "node", "dory")
	if pids := d.processes(); len(pids) != 1 {
		t.Errorf("machines: %v", pids)
	}
}
