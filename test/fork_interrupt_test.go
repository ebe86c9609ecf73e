//go:build vm

package test

import (
	"path/filepath"
	"syscall"
	"testing"
)

// untilSettled are the steps of a start up to those that make a template of the node.
var untilSettled = []string{"artifacts", "machine", "boot", "files", "etcd", "runtime", "apiserver", "kubelet", "readyz",
	"controllers", "manifests", "node", "ready"}

// interruptedTemplate kills the making of a template when it is all but done.
func interruptedTemplate(t *testing.T, d *dory) {
	if step, code := d.interrupted(syscall.SIGKILL, untilSettled); step != "settle" || code == 0 {
		t.Errorf("killed in step %q, exit %d", step, code)
	}
	if files, _ := filepath.Glob(filepath.Join(d.home, "cache", "templates", "*", "template.json")); files != nil {
		t.Errorf("half a template: %v", files)
	}
}

// interruptedForks interrupts forks of a template that is there, at each of their steps.
func interruptedForks(t *testing.T, d *dory) {
	before := len(d.processes())
	for _, signal := range []syscall.Signal{syscall.SIGKILL, syscall.SIGINT} {
		seen := []string{"artifacts"}
		for _, want := range []string{"fork", "renew", "kubeconfig"} {
			step, code := d.interrupted(signal, seen, "-p", "cut")
			seen = append(seen, step)
			// Writing the kubeconfig takes some milliseconds: the start may have ended well before the signal came.
			if step != want || code == 0 && want != "kubeconfig" {
				t.Errorf("%v in step %q instead of %q: exit %d", signal, step, want, code)
			}
		}
		d.expect(0, startLimit, "start", "-p", "cut")
		d.kubectlOf("cut", "get", "node", "dory")
		d.must(commandLimit, "delete", "-p", "cut")
	}
	if pids := d.processes(); len(pids) != before {
		t.Errorf("machines: %v", pids)
	}
}
