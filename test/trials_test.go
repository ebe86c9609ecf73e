//go:build vm

package test

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

var signals = []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGKILL}

// interruptions end dory itself: in every step of a start, and at many moments of it; points has the other verbs.
func interruptions() (all []trial) {
	steps := func(kind string, ready func(*victim), names ...string) {
		for i, step := range names {
			for _, signal := range signals {
				all = append(all, trial{kind: kind, name: fmt.Sprintf("%v in %s", signal, step), ready: ready, strike: func(c *victim) {
					got, code := c.interrupted(signal, names[:i], "-p", c.name)
					if got != step && got != "" {
						c.t.Errorf("it came to the step %q instead of %q", got, step)
					}
					// Writing the kubeconfig takes some milliseconds: the start may have ended well before the signal came.
					if signal != syscall.SIGKILL && code != 2 && !(step == "kubeconfig" && code == 0) {
						c.t.Errorf("%v in step %q: exit %d", signal, step, code)
					}
				}})
			}
		}
	}
	steps("dory is ended: start of a fork", nil, "artifacts", "fork", "renew", "kubeconfig")
	steps("dory is ended: start of a saved cluster", saved, "artifacts", "machine", "boot", "wait", "kubeconfig")
	for _, signal := range signals {
		for after := time.Duration(0); after < 3*time.Second; after += 500 * time.Millisecond {
			all = append(all, trial{kind: "dory is ended: start of a fork, any moment", name: fmt.Sprintf("%v after %v", signal, after),
				strike: func(c *victim) { c.struck(signal, after, "start") }})
		}
	}
	return all
}

// kills end the machine behind dory's back.
func kills() (all []trial) {
	const kind = "the machine is ended"
	kill := func(c *victim) {
		for _, pid := range c.pids() {
			syscall.Kill(pid, syscall.SIGKILL)
		}
	}
	during := func(verb string, ready func(*victim), longest time.Duration, count int) {
		for i := range count {
			after := longest * time.Duration(i+1) / time.Duration(count)
			all = append(all, trial{kind: kind, name: fmt.Sprintf("%s, after %v", verb, after), ready: ready, strike: func(c *victim) {
				var killer sync.WaitGroup
				killer.Go(func() { time.Sleep(after); kill(c) })
				c.run(startLimit, "-p", c.name, verb)
				killer.Wait()
			}})
		}
	}
	all = append(all,
		trial{kind: kind, name: "while it runs", ready: running, strike: kill},
		trial{kind: kind, name: "while it is paused", ready: func(c *victim) { running(c); c.must(commandLimit, "-p", c.name, "pause") }, strike: kill})
	during("start", nil, 3*time.Second, 5)
	during("stop", running, 6*time.Second, 3)
	return all
}

// damage is what happens to a file. The file is replaced, never written to: others may be linked to it.
type damage struct {
	name string
	do   func(content []byte) []byte // nil: the file is removed
}

var allDamages = []damage{
	{"emptied", func([]byte) []byte { return []byte{} }},
	{"cut in half", func(b []byte) []byte { return b[:len(b)/2] }},
	{"garbled", func(b []byte) []byte {
		for i := range b {
			b[i] ^= 0x5a
		}
		return b
	}},
	{"removed", nil},
}

// to damages the file.
func (d damage) to(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if d.do == nil {
		return os.Remove(path)
	}
	spoiled := path + ".spoiled"
	if info.Size() > 1<<30 { // mostly a hole: what is left of it is a hole too
		if err := os.WriteFile(spoiled, nil, 0o600); err != nil {
			return err
		}
		if len(d.do([]byte{1, 2})) > 0 {
			if err := os.Truncate(spoiled, info.Size()/2); err != nil {
				return err
			}
		}
		return os.Rename(spoiled, path)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := os.WriteFile(spoiled, d.do(content), info.Mode().Perm()&fs.ModePerm); err != nil {
		return err
	}
	return os.Rename(spoiled, path)
}

// dataDisk is what a fork has written to its disk since its template was frozen.
const dataDisk = "machine/data.qcow2"

// damages spoil each file of a cluster's directory in turn, while its machine runs and while it is saved.
func damages() (all []trial) {
	files := []string{"cluster.json", "machine.json", "ssh.key", "ca.crt", "client.crt", "client.key", "kubeconfig", "dory.log",
		"pki/ca.crt", "pki/ca.key", "pki/front-proxy-ca.crt", "pki/front-proxy-ca.key", "pki/service-account.key",
		"machine/boot.json", "machine/machine.json", "machine/process.json"}
	add := func(kind string, ready func(*victim), files []string, damages []damage) {
		for _, file := range files {
			refused := []int{18, 38, 50, 82}
			if file == dataDisk {
				refused = append(refused, 53, 80) // the guest finds that its file system is cut, sooner or later
			}
			for _, damage := range damages {
				all = append(all, trial{kind: kind, name: file + " is " + damage.name, ready: ready, refused: refused, strike: func(c *victim) {
					err := damage.to(filepath.Join(c.home, "state", "clusters", c.name, file))
					if err != nil && !os.IsNotExist(err) { // not every state has every file
						c.t.Fatal(err)
					}
				}})
			}
		}
	}
	add("a file of a running cluster is damaged", running, files, allDamages)
	add("a file of a saved cluster is damaged", saved, append(files, "machine/saved.json", "machine/saved.state", "machine/saved.memory", dataDisk), allDamages[1:3])
	for _, damage := range allDamages {
		var whole []byte
		all = append(all, trial{kind: "the kubeconfig is damaged", name: damage.name, ready: running, refused: []int{38}, strike: func(c *victim) {
			whole, _ = os.ReadFile(c.kubeconfig())
			if err := damage.to(c.kubeconfig()); err != nil {
				c.t.Fatal(err)
			}
		}, mend: func(c *victim) { // with the entries of a cluster that is deleted by then: nobody can take them out of the damaged file
			if err := os.WriteFile(c.kubeconfig(), whole, 0o600); err != nil {
				c.t.Fatal(err)
			}
		}})
	}
	return all
}

// templateDamages spoil each file of the template that a fork needs. That a start begins to make it anew is enough; afterwards it
// is as before.
func templateDamages() (all []trial) {
	for _, file := range []string{"template.json", "frozen/frozen.json", "frozen/state", "frozen/memory", "frozen/disk.img"} {
		for _, damage := range allDamages {
			if damage.name == "garbled" && (file == "frozen/memory" || file == "frozen/disk.img") {
				continue // of a gigabyte, nobody reads each byte at each start
			}
			all = append(all, trial{kind: "a file of the template is damaged", name: file + " is " + damage.name, strike: func(c *victim) {
				found, _ := filepath.Glob(filepath.Join(c.home, "cache", "templates", "*", "template.json"))
				if len(found) != 1 {
					c.t.Fatalf("templates: %v", found)
				}
				template := filepath.Dir(found[0])
				kept := filepath.Join(c.home, "kept")
				c.linkTree(template, kept)
				defer func() {
					os.RemoveAll(template)
					if err := os.Rename(kept, template); err != nil {
						c.t.Fatal(err)
					}
				}()
				if err := damage.to(filepath.Join(template, file)); err != nil {
					c.t.Fatal(err)
				}
				if step, code := c.interrupted(syscall.SIGINT, []string{"artifacts", "fork", "machine"}, "-p", c.name); step != "boot" || code != 2 {
					c.t.Errorf("with a damaged template a start came to step %q, exit %d", step, code)
				}
				c.must(commandLimit, "-p", c.name, "delete")
			}})
		}
	}
	return all
}

// linkTree makes a copy of a directory whose files are linked.
func (d *dory) linkTree(from, to string) {
	err := filepath.WalkDir(from, func(path string, entry fs.DirEntry, err error) error {
		rest, _ := filepath.Rel(from, path)
		switch {
		case err != nil:
			return err
		case entry.IsDir():
			return os.MkdirAll(filepath.Join(to, rest), 0o700)
		default:
			return os.Link(path, filepath.Join(to, rest))
		}
	})
	if err != nil {
		d.t.Fatal(err)
	}
}

// races are two verbs at once. Each succeeds or says who holds the cluster.
func races() (all []trial) {
	for _, pair := range [][2]string{{"start", "start"}, {"start", "delete"}, {"start", "stop"}, {"stop", "delete"}, {"delete", "delete"}, {"pause", "stop"}} {
		all = append(all, trial{kind: "two verbs at once", name: pair[0] + " and " + pair[1], ready: running, strike: func(c *victim) {
			if pair[0] == "start" {
				c.must(startLimit, "-p", c.name, "stop", "--power-off=false")
			}
			var both sync.WaitGroup
			for _, verb := range pair {
				both.Go(func() {
					if r := c.run(startLimit, "-p", c.name, verb); r.code != 0 && r.code != 11 && r.code != 13 && r.code != 15 {
						c.t.Errorf("%s: exit %d: %s", verb, r.code, r.stderr)
					}
				})
			}
			both.Wait()
		}})
	}
	return all
}
