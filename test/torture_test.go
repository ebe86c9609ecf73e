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
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// trial is something that goes wrong, and what then must hold: status answers soon and tells the truth, start succeeds or says
// why not, delete succeeds, and nothing stays behind.
type trial struct {
	kind string // a row of the table that is printed in the end
	name string
	long bool // it takes minutes: only 'make torture' has them
	// strike does it to the cluster, which runs if there was a ready for it.
	ready  func(c *victim)
	strike func(c *victim)
	// says are words of the status that then are true; none: whatever it says.
	says []string
	// refused are the exit codes besides 0 that the next start may have, which waits so long; nothing: long enough.
	refused []int
	wait    string
	// mend takes away what went wrong. Until then every verb may be refused with these codes; afterwards none.
	mend func(c *victim)
	// after is what must hold after a start that succeeded.
	after func(c *victim)
}

// victim is the cluster of one trial.
type victim struct {
	*dory
	name string
	row  *outcome
	disk string // where a small file system is mounted
}

// torture chooses the trials: "all", or those whose kind and name match a regular expression. Without it every so many-th is
// run, for minutes rather than hours.
const (
	torture     = "DORY_TORTURE"
	tortureStep = 61
)

// TestTorture runs the trials one after the other, each on a fork of one template.
func TestTorture(t *testing.T) {
	d := newForker(t)
	for i, trial := range chosen(t, allTrials()) {
		row := &outcome{Kind: trial.kind, Name: trial.name}
		row.OK = t.Run(trial.kind+"/"+trial.name, func(t *testing.T) {
			c := &victim{dory: d.of(t), name: fmt.Sprintf("victim-%d", i), row: row}
			defer c.cleanUp()
			if trial.ready != nil {
				trial.ready(c)
			}
			trial.strike(c)
			row.Ended = c.slowest
			c.recovers(trial)
		})
		report.add(*row)
	}
	t.Log("\n" + report.summary())
}

func allTrials() []trial {
	return slices.Concat(interruptions(), points(), makings(), kills(), damages(), templateDamages(), rooms(), failingWrites(),
		guestTroubles(), races())
}

// chosen are the trials to be run, first those that were as wanted the fewest times in a row.
func chosen(t *testing.T, all []trial) (some []trial) {
	pattern := os.Getenv(torture)
	if pattern == "" {
		all = slices.DeleteFunc(all, func(t trial) bool { return t.long })
		for i := 0; i < len(all); i += tortureStep {
			some = append(some, all[i])
		}
		return some
	}
	matches, err := regexp.Compile(pattern)
	if err != nil {
		t.Fatal(err)
	}
	if pattern != "all" {
		all = slices.DeleteFunc(all, func(t trial) bool { return !matches.MatchString(t.kind + "/" + t.name) })
	}
	slices.SortStableFunc(all, func(a, b trial) int { return report.inARow(a.kind, a.name) - report.inARow(b.kind, b.name) })
	return all
}

// Limits of the contract, 3 s for a status and 2 s for an interruption, with as much again for a machine that has other
// things to do: the guest of a trial alone keeps both processors of a small one busy. The table has the figures.
const (
	statusLimit    = 6 * time.Second
	interruptLimit = 4 * time.Second
)

// recovers is what must hold after whatever happened.
func (c *victim) recovers(of trial) {
	c.t.Helper()
	c.tells(of.says)
	if of.mend != nil {
		c.starts(of)
		r := c.run(startLimit, "-p", c.name, "delete")
		if r.code != 0 && !slices.Contains(of.refused, r.code) {
			c.t.Errorf("delete, before it is mended: exit %d\n%s", r.code, r.stderr)
		}
		of.mend(c)
		of.refused, of.wait = nil, ""
		if r.code != 0 { // it may have come so far that the machine is gone, and could not note even that
			of.refused = []int{55}
		}
	}
	c.starts(of)
	if r := c.dory.run(commandLimit, "-p", c.name, "delete"); r.code != 0 {
		c.t.Errorf("delete: exit %d\n%s", r.code, r.stderr)
	}
	for _, left := range c.left() {
		c.t.Errorf("left behind: %s", left)
	}
}

// tells waits until the status says what is true. What it finds out takes a while, to answer does not.
func (c *victim) tells(truth []string) {
	c.t.Helper()
	c.eventually(fmt.Sprintf("status says %q", truth), 2*time.Minute, func() error {
		r := c.run(commandLimit, "-p", c.name, "status")
		c.row.Status = max(c.row.Status, r.took)
		if r.took > statusLimit || r.code > 7 && r.code != 18 {
			c.t.Errorf("status: exit %d after %v\n%s%s", r.code, r.took, r.stdout, r.stderr)
		}
		for _, words := range truth {
			if !strings.Contains(r.stdout+r.stderr, words) {
				return errorString(r.stdout + r.stderr)
			}
		}
		return nil
	})
}

// starts starts it: that succeeds, and then it works; or it is refused with one of the codes, and says what to do.
func (c *victim) starts(of trial) {
	c.t.Helper()
	wait := of.wait
	if wait == "" {
		wait = "10m"
	}
	r := c.dory.run(startLimit, "-p", c.name, "start", "--wait-timeout", wait)
	switch {
	case r.code == 0:
		if out := c.dory.run(commandLimit, "-p", c.name, "kubectl", "--", "get", "node", "dory"); out.code != 0 {
			c.t.Errorf("after start, kubectl: %s", out.stderr)
		}
		if of.after != nil {
			of.after(c)
		}
	case !slices.Contains(of.refused, r.code):
		c.t.Errorf("start: exit %d after %v\n%s", r.code, r.took, r.stderr)
	case !strings.Contains(r.stderr, "what to do:"):
		c.t.Errorf("start does not say what to do: %s", r.stderr)
	default:
		c.t.Logf("start is refused: %s", tail(r.stderr, 6))
	}
	c.row.Start, c.row.Code = r.took, r.code
	c.t.Logf("start: exit %d after %v", r.code, r.took.Round(time.Millisecond))
}

// left is what there is of the cluster, and of templates that are being made: processes, and with them the ports that they
// listen on, files, entries of the kubeconfig, mounts.
func (c *victim) left() (left []string) {
	dir := filepath.Join(c.home, "state", "clusters", c.name)
	templates := filepath.Join(c.home, "cache", "templates")
	left = append(c.processesBelow(dir), c.processesBelow(templates)...)
	for _, pattern := range []string{dir, dir + "/*", dir + ".lock", filepath.Join(templates, "*.*"), c.kubeconfig() + ".lock", filepath.Join(filepath.Dir(c.kubeconfig()), ".*.tmp")} {
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
	c.under = nil
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
		c.ended(signal, fmt.Sprintf("%v after the beginning of %s", after, args[0]), time.Since(sent))
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
