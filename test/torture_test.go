//go:build vm

package test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// trial is something that goes wrong, and what then must hold: status answers soon, start succeeds or says why not,
// delete succeeds, and nothing stays behind.
type trial struct {
	kind string // a row of the table that is printed in the end
	name string
	// strike does it to the cluster, which runs if there was a ready for it.
	ready  func(c *victim)
	strike func(c *victim)
	// refused are the exit codes besides 0 that the next start may have.
	refused []int
}

// victim is the cluster of one trial.
type victim struct {
	*dory
	name string
}

// torture is for 'make torture', which runs all trials; otherwise every so many-th is run, for minutes rather than an hour.
const (
	tortureAll  = "DORY_TORTURE"
	tortureStep = 17
)

// TestTorture runs the trials one after the other, each on a fork of one template.
func TestTorture(t *testing.T) {
	d := newDory(t)
	d.must(startLimit, "start", "-p", "first")
	d.must(commandLimit, "delete", "-p", "first")
	all := slices.Concat(interruptions(), kills(), damages(), templateDamages(), guestTroubles(), races())
	results := map[string][2]int{} // kind: passed, all
	for i, trial := range all {
		if os.Getenv(tortureAll) == "" && i%tortureStep != 0 {
			continue
		}
		passed := t.Run(trial.kind+"/"+trial.name, func(t *testing.T) {
			c := &victim{&dory{t: t, home: d.home, env: d.env}, fmt.Sprintf("victim-%d", i)}
			defer c.cleanUp()
			if trial.ready != nil {
				trial.ready(c)
			}
			trial.strike(c)
			c.recovers(trial.refused)
		})
		r := results[trial.kind]
		if r[1]++; passed {
			r[0]++
		}
		results[trial.kind] = r
	}
	d.t = t
	t.Log("\n" + tortureTable(results))
}

func tortureTable(results map[string][2]int) string {
	var table strings.Builder
	fmt.Fprintln(&table, "| what goes wrong | cases | as wanted |\n|---|---|---|")
	var sum [2]int
	kinds := make([]string, 0, len(results))
	for kind := range results {
		kinds = append(kinds, kind)
	}
	slices.Sort(kinds)
	for _, kind := range kinds {
		r := results[kind]
		sum[0], sum[1] = sum[0]+r[0], sum[1]+r[1]
		fmt.Fprintf(&table, "| %s | %d | %d |\n", kind, r[1], r[0])
	}
	fmt.Fprintf(&table, "| all | %d | %d |\n", sum[1], sum[0])
	return table.String()
}

// statusLimit is what the contract promises, with room for a machine that has other things to do.
const statusLimit = 6 * time.Second

// recovers is what must hold after whatever happened.
func (c *victim) recovers(refused []int) {
	c.t.Helper()
	if r := c.dory.run(commandLimit, "-p", c.name, "status"); r.took > statusLimit || r.code > 7 && r.code != 18 {
		c.t.Errorf("status: exit %d after %v\n%s%s", r.code, r.took, r.stdout, r.stderr)
	}
	r := c.dory.run(startLimit, "-p", c.name, "start", "--wait-timeout", "5m")
	switch {
	case r.code == 0:
		if out := c.dory.run(commandLimit, "-p", c.name, "kubectl", "--", "get", "node", "dory"); out.code != 0 {
			c.t.Errorf("after start, kubectl: %s", out.stderr)
		}
	case !slices.Contains(refused, r.code):
		c.t.Errorf("start: exit %d after %v\n%s", r.code, r.took, r.stderr)
	case !strings.Contains(r.stderr, "what to do:"):
		c.t.Errorf("start does not say what to do: %s", r.stderr)
	}
	c.t.Logf("start: exit %d after %v", r.code, r.took.Round(time.Millisecond))
	if r := c.dory.run(commandLimit, "-p", c.name, "delete"); r.code != 0 {
		c.t.Errorf("delete: exit %d\n%s", r.code, r.stderr)
	}
	for _, left := range c.left() {
		c.t.Errorf("left behind: %s", left)
	}
}

// left is what there is of the cluster: processes, files, entries of the kubeconfig, mounts.
func (c *victim) left() (left []string) {
	dir := filepath.Join(c.home, "state", "clusters", c.name)
	entries, _ := os.ReadDir("/proc")
	for _, entry := range entries {
		if args, _ := os.ReadFile(filepath.Join("/proc", entry.Name(), "cmdline")); bytes.Contains(args, []byte(dir+"/")) {
			left = append(left, "process "+entry.Name())
		}
	}
	for _, pattern := range []string{dir, dir + "/*", dir + ".lock", filepath.Join(c.home, "cache", "templates", "*.*")} {
		files, _ := filepath.Glob(pattern)
		left = append(left, files...)
	}
	if text, _ := os.ReadFile(c.kubeconfig()); strings.Contains(string(text), c.name) {
		left = append(left, "entries in the kubeconfig")
	}
	if mounts, _ := os.ReadFile("/proc/self/mounts"); bytes.Contains(mounts, []byte(dir)) {
		left = append(left, "mounts")
	}
	return left
}

// cleanUp ends what a failed trial left, so that it disturbs no other.
func (c *victim) cleanUp() {
	if c.t.Failed() {
		c.evidenceOf(c.name)
	}
	os.Remove(c.kubeconfig()) // a trial may have spoiled it
	c.dory.run(commandLimit, "-p", c.name, "delete")
	for _, pid := range c.pids() {
		syscall.Kill(pid, syscall.SIGKILL)
	}
	os.RemoveAll(filepath.Join(c.home, "state", "clusters", c.name))
}

func (d *dory) evidenceOf(name string) {
	text, _ := os.ReadFile(filepath.Join(d.home, "state", "clusters", name, "dory.log"))
	d.t.Logf("the end of its log:\n%s", tail(string(text), 12))
}

// pids are the victim's machines.
func (c *victim) pids() (pids []int) {
	for _, pid := range c.processes() {
		args, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if strings.Contains(string(args), "/"+c.name+"/") || strings.Contains(string(args), "guest="+c.name+",") {
			pids = append(pids, pid)
		}
	}
	return pids
}

// struck runs a verb on the cluster, and sends it a signal after a while, if it still runs. It must end soon then.
func (c *victim) struck(signal syscall.Signal, after time.Duration, args ...string) {
	c.t.Helper()
	cmd := c.command(context.Background(), append([]string{"-p", c.name}, args...)...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case err := <-ended:
		c.t.Logf("%s ended before %v: %v", args[0], after, err)
		return
	case <-time.After(after):
	}
	cmd.Process.Signal(signal)
	sent := time.Now()
	select {
	case err := <-ended:
		exit := (*exec.ExitError)(nil)
		if signal != syscall.SIGKILL && errors.As(err, &exit) && exit.ExitCode() != 2 && !unheard(exit, signal, out.String()) {
			c.t.Errorf("%s, %v after %v: %v\n%s", args[0], signal, after, err, out.String())
		}
		if took := time.Since(sent); took > 10*time.Second {
			c.t.Errorf("%s, %v after %v: it took %v to end", args[0], signal, after, took)
		}
	case <-time.After(time.Minute):
		cmd.Process.Kill()
		c.t.Errorf("%s, %v after %v: it does not end\n%s", args[0], signal, after, out.String())
	}
}

// unheard: the signal came before the process had begun to listen for any.
func unheard(exit *exec.ExitError, signal syscall.Signal, output string) bool {
	status, ok := exit.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == signal && output == ""
}

func running(c *victim) { c.must(startLimit, "-p", c.name, "start") }

func saved(c *victim) {
	running(c)
	c.must(startLimit, "-p", c.name, "stop")
}
