//go:build vm

package test

import (
	"context"
	"math/rand/v2"
	"syscall"
	"testing"
	"time"
)

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
	d.killedAtRandom()
	if pids := d.processes(); len(pids) != before {
		t.Errorf("machines: %v", pids)
	}
}

// killedAtRandom kills forks at any moment, one after the other, and in the end starts the cluster and deletes it.
func (d *dory) killedAtRandom() {
	d.t.Helper()
	for range 8 {
		delay := rand.N(4 * time.Second)
		ctx, cancel := context.WithTimeout(context.Background(), delay)
		cmd := d.command(ctx, "start", "-p", "cut")
		cmd.Cancel = func() error { return cmd.Process.Kill() }
		err := cmd.Run()
		cancel()
		d.t.Logf("killed after %v: %v", delay, err)
		if err == nil { // it was quicker
			d.must(commandLimit, "delete", "-p", "cut")
		}
	}
	d.expect(0, startLimit, "start", "-p", "cut")
	d.kubectlOf("cut", "get", "node", "dory")
	d.must(commandLimit, "delete", "-p", "cut")
}
