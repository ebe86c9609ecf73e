//go:build vm

package test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// failingWrites make what dory writes fail in other ways than for want of room: files may not be larger than so much, files
// and directories may not be changed, the file system may only be read.
func failingWrites() (all []trial) {
	const kind = "writes fail"
	for _, state := range []struct {
		name  string
		ready func(*victim)
	}{{"no cluster", nil}, {"a running cluster", running}, {"a saved cluster", saved}} {
		for _, largest := range []int{0, 4 << 10, mib} {
			all = append(all, trial{kind: kind, name: fmt.Sprintf("%s, no file larger than %d KiB", state.name, largest>>10), ready: state.ready,
				refused: []int{26, 38, 53}, mend: func(c *victim) { c.under = nil },
				strike: func(c *victim) {
					c.under = []string{"prlimit", fmt.Sprintf("--fsize=%d", largest), "--"}
					if state.name == "a running cluster" {
						c.cannotStop(26)
					}
				}})
		}
	}
	for _, path := range []string{"cluster.json", "machine", "."} {
		all = append(all, unchangeable("a running cluster's "+path, running, filepath.Join("state", "clusters", "NAME", path)),
			unchangeable("a saved cluster's "+path, saved, filepath.Join("state", "clusters", "NAME", path)))
	}
	all = append(all,
		unchangeable("the directory of clusters", func(c *victim) { running(c); c.must(commandLimit, "-p", c.name, "delete") }, "state/clusters"),
		unchangeable("the kubeconfig, of a new cluster", withForeign, "KUBECONFIG"),
		unchangeable("the kubeconfig, of a running cluster", running, "KUBECONFIG"),
		unchangeable("the kubeconfig, of a saved cluster", saved, "KUBECONFIG"),
		trial{kind: kind, name: "the file system of a saved cluster may only be read", refused: []int{37}, mend: func(c *victim) { c.remount("rw") },
			ready:  func(c *victim) { onDisk(c); c.must(startLimit, "-p", c.name, "stop") },
			strike: func(c *victim) { c.remount("ro") }},
		trial{kind: kind, name: "the file system of a new cluster may only be read", refused: []int{37}, mend: func(c *victim) { c.remount("rw") },
			ready:  func(c *victim) { c.stateOnDisk(1024) },
			strike: func(c *victim) { c.remount("ro") }})
	return all
}

// unchangeable makes a path immutable, root's rights notwithstanding.
func unchangeable(name string, ready func(*victim), path string) trial {
	expand := func(c *victim) string {
		if path == "KUBECONFIG" {
			return c.kubeconfig()
		}
		return filepath.Join(c.home, strings.ReplaceAll(path, "NAME", c.name))
	}
	return trial{kind: "writes fail", name: name + " cannot be changed", ready: ready, refused: []int{37, 38},
		strike: func(c *victim) {
			at := expand(c)
			c.do("chattr", "+i", at)
			c.t.Cleanup(func() {
				if _, err := os.Lstat(at); err == nil {
					c.do("chattr", "-i", at)
				}
			})
		},
		mend: func(c *victim) {
			if _, err := os.Lstat(expand(c)); err == nil {
				c.do("chattr", "-i", expand(c))
			}
		}}
}

func withForeign(c *victim) {
	if err := os.WriteFile(c.kubeconfig(), []byte(foreign), 0o600); err != nil {
		c.t.Fatal(err)
	}
}

// remount changes the mode of the small file system, as soon as what a QEMU had open is closed.
func (c *victim) remount(mode string) {
	c.t.Helper()
	c.eventually("the file system is mounted "+mode, time.Minute, func() error {
		out, err := exec.Command("mount", "-o", "remount,"+mode, c.disk).CombinedOutput()
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	})
}

// cannotStop: a stop is refused with the code, and the cluster runs on.
func (c *victim) cannotStop(code int) {
	c.t.Helper()
	r := c.expect(code, startLimit, "-p", c.name, "stop")
	if !strings.Contains(r.stderr, "what to do:") {
		c.t.Errorf("stop does not say what to do: %s", r.stderr)
	}
	under := c.under
	c.under = nil
	c.kubectlOf(c.name, "get", "node", "dory")
	c.under = under
}
