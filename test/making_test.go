//go:build vm

package test

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// A template takes minutes to be made under emulation, so its making is cut in chosen steps, and afterwards a template that is
// there already takes its place: only the last of these trials makes one to its end.
const makingCut = "the making of a template is cut"

// makingLimit is how long a making may wait for Kubernetes on a machine that has other things to do.
const makingLimit = "12m"

// cut is a moment of the making: so long after the beginning of a step.
type cut struct {
	step  string
	later time.Duration
}

func (c cut) String() string {
	if c.later == 0 {
		return c.step
	}
	return fmt.Sprintf("%s, %v later", c.step, c.later)
}

// reached tells whether the moment has come.
func (c cut) reached(step string) bool {
	if step == c.step {
		time.Sleep(c.later)
	}
	return step == c.step
}

// sweeps are the verbs that remove what a making has left that was killed.
var sweeps = []string{"start", "delete --all", "template prune"}

func makings() (all []trial) {
	add := func(signal syscall.Signal, moments ...cut) {
		for _, at := range moments {
			sweep := sweeps[len(all)%len(sweeps)]
			name := fmt.Sprintf("%v in %s", signal, at)
			if signal == syscall.SIGKILL {
				name += "; then " + sweep
			}
			all = append(all, trial{kind: makingCut, name: name, long: len(all) > 0, strike: func(c *victim) {
				c.withoutTemplate()
				defer c.linkTemplate() // as if another had made it meanwhile
				c.makingEnds(signal, at)
				if signal == syscall.SIGKILL {
					c.sweeps(sweep)
				}
				c.nothingIsMade()
			}})
		}
	}
	add(syscall.SIGKILL, cut{"boot", 5 * time.Second}, cut{"machine", 0}, cut{"boot", 0}, cut{"files", 0}, cut{"apiserver", 0},
		cut{"readyz", 0}, cut{"ready", 0}, cut{"settle", 0}, cut{"freeze", 0}, cut{"freeze", 300 * time.Millisecond})
	add(syscall.SIGINT, cut{"boot", 0}, cut{"apiserver", time.Second}, cut{"settle", 0}, cut{"freeze", 300 * time.Millisecond})
	add(syscall.SIGTERM, cut{"files", 0}, cut{"settle", time.Second})
	for _, at := range []cut{{"boot", 3 * time.Second}, {"apiserver", time.Second}, {"settle", 0}} {
		all = append(all, trial{kind: makingCut, name: fmt.Sprintf("its machine is ended in %s", at), long: true, strike: func(c *victim) {
			c.withoutTemplate()
			defer c.linkTemplate()
			c.machineOfMakingEnds(at)
			c.nothingIsMade()
		}})
	}
	return append(all, trial{kind: makingCut, name: "killed in settle; the next start makes it", long: true, strike: func(c *victim) {
		c.withoutTemplate()
		c.makingEnds(syscall.SIGKILL, cut{"settle", 0})
	}})
}

func (c *victim) templates(pattern string) []string {
	found, _ := filepath.Glob(filepath.Join(c.home, "cache", "templates", pattern))
	return found
}

func (c *victim) withoutTemplate() {
	c.t.Helper()
	c.must(commandLimit, "template", "delete", "--all")
	if left := c.templates("*"); len(left) != 0 {
		c.t.Fatalf("deleted templates left %v", left)
	}
}

// makingEnds ends a start while it makes the template. There is none then, and it is not taken for one.
func (c *victim) makingEnds(signal syscall.Signal, at cut) {
	c.t.Helper()
	step, code := c.interruptedIn(at.reached, signal, "start", "-p", c.name, "--wait-timeout", makingLimit)
	if step != at.step || signal != syscall.SIGKILL && code != 2 || signal == syscall.SIGKILL && code == 0 {
		c.t.Errorf("%v: it came to step %q, exit %d", signal, step, code)
	}
	if list := strings.TrimSpace(c.must(commandLimit, "template", "list", "-o", "json")); list != "[]" {
		c.t.Errorf("templates: %s", list)
	}
	if r := c.run(commandLimit, "-p", c.name, "status"); r.took > statusLimit || r.code == 0 || r.code > 7 {
		c.t.Errorf("status: exit %d after %v\n%s%s", r.code, r.took, r.stdout, r.stderr)
	}
}

// sweeps has a verb remove what a killed making has left.
func (c *victim) sweeps(verb string) {
	c.t.Helper()
	if verb != "start" {
		c.must(commandLimit, strings.Fields(verb)...)
		return
	}
	// A new making begins when what the last one left is gone: that it boots is enough.
	if step, code := c.interruptedIn(cut{step: "boot"}.reached, syscall.SIGINT, "start", "-p", c.name); step != "boot" || code != 2 {
		c.t.Errorf("the next start came to step %q, exit %d", step, code)
	}
}

func (c *victim) nothingIsMade() {
	c.t.Helper()
	for _, left := range append(c.templates("*"), c.processesBelow(filepath.Join(c.home, "cache", "templates"))...) {
		c.t.Errorf("left of the making: %s", left)
	}
}

// machineOfMakingEnds ends the QEMU of a making behind its back: the start fails soon, and says why.
func (c *victim) machineOfMakingEnds(at cut) {
	c.t.Helper()
	killed := time.Time{}
	r := c.watched(func(step string, _ *exec.Cmd) {
		if !killed.IsZero() || !at.reached(step) {
			return
		}
		killed = time.Now()
		for _, pid := range c.processes() { // there is no cluster but this one
			syscall.Kill(pid, syscall.SIGKILL)
		}
	}, "start", "-p", c.name, "--wait-timeout", makingLimit)
	if took := time.Since(killed); r.code != 53 && r.code != 50 || took > time.Minute || !strings.Contains(r.stdout, `"advice"`) {
		c.t.Errorf("its machine was ended in %s: exit %d, %v later\n%s", at, r.code, took, r.stdout)
	}
}
