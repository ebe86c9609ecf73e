//go:build vm

package test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dorykube/dory/drivers/drivertest/debian"
	"github.com/dorykube/dory/drivers/qemu"
)

// TestVersions is the life of clusters with other QEMUs than this computer's, each out of its Debian, in one home, and then with one
// after another, as when QEMU is upgraded under clusters. 'make test' takes one that is newer than the oldest.
func TestVersions(t *testing.T) {
	tried := qemu.Tried
	if testing.Short() {
		tried = tried[1:2]
	}
	d := newDory(t)
	part, more := d.parts(t)
	programs := map[string]string{}
	for _, v := range tried {
		programs[v.Number] = debian.QEMU(t, v.Debian)
		part("a life with "+v.Number, func(t *testing.T, d *dory) { lifeWith(t, d.with(programs[v.Number]), v.Number) })
	}
	for _, v := range [][2]string{{"7.2", "10.0"}, {"10.0", "11.1"}, {"10.0", "7.2"}} {
		more("from "+v[0]+" to "+v[1], func(t *testing.T, d *dory) {
			upgraded(t, d.with(programs[v[0]]), d.with(programs[v[1]]), v[0], v[1])
		})
	}
	part("nothing is left", func(t *testing.T, d *dory) {
		d.must(commandLimit, "template", "delete", "--all")
		for _, dir := range []string{"state/clusters", "cache/templates"} {
			if left, _ := filepath.Glob(filepath.Join(d.home, dir, "*", "*")); len(left) != 0 {
				t.Errorf("left: %v", left)
			}
		}
	})
}

// with is the same program and home with another QEMU.
func (d *dory) with(program string) *dory {
	other := *d
	other.env = append(other.env[:len(other.env):len(other.env)], "DORY_QEMU="+program)
	return &other
}

// ranWith makes sure that a cluster's machine runs with the QEMU: dory says so, and it is the file that is executed.
func (d *dory) ranWith(profile, version string) {
	d.t.Helper()
	dir := filepath.Join(d.home, "state", "clusters", profile, "machine")
	var boot struct{ QEMU string }
	var process struct{ PID int }
	for name, into := range map[string]any{"boot.json": &boot, "process.json": &process} {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err == nil {
			err = json.Unmarshal(text, into)
		}
		if err != nil {
			d.t.Fatal(err)
		}
	}
	root := ""
	for _, v := range qemu.Tried {
		if v.Number == version {
			root = filepath.Dir(debian.QEMU(d.t, v.Debian))
		}
	}
	if real, err := filepath.EvalSymlinks(root); err == nil {
		root = real
	}
	mapped, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", process.PID))
	if err != nil {
		d.t.Fatal(err)
	}
	if !strings.HasPrefix(boot.QEMU, version+".") || !strings.Contains(string(mapped), root+"/usr/bin/qemu-system-x86_64") {
		d.t.Errorf("%s runs with QEMU %s, not %s out of %s", profile, boot.QEMU, version, root)
	}
}

// keeps puts something into a cluster, and kept looks for it.
func (d *dory) keeps(profile string) {
	d.t.Helper()
	d.kubectlOf(profile, "create", "configmap", "kept", "--from-literal=by="+profile)
	d.in(profile, "echo "+profile+" >/root/kept; echo "+profile+" >/run/only-in-memory")
}

func (d *dory) kept(profile string) {
	d.t.Helper()
	d.kubectlOf(profile, "wait", "node/dory", "--for=condition=Ready", "--timeout=5m")
	if got := d.kubectlOf(profile, "get", "configmap", "kept", "-o", "jsonpath={.data.by}"); got != profile {
		d.t.Errorf("%s's ConfigMap holds %q", profile, got)
	}
	if got := d.in(profile, "cat /root/kept"); got != profile {
		d.t.Errorf("%s's file holds %q", profile, got)
	}
}

// begins starts a cluster and looks what of it is said, and what is not.
func (d *dory) begins(profile string, said, unsaid []string) {
	d.t.Helper()
	r := d.expect(0, startLimit, "start", "-p", profile)
	d.t.Logf("start of %s took %.1f s\n%s", profile, r.took.Seconds(), r.stderr)
	for _, words := range said {
		if !strings.Contains(r.stderr, words) {
			d.t.Errorf("start of %s does not say %q", profile, words)
		}
	}
	for _, words := range unsaid {
		if strings.Contains(r.stderr, words) {
			d.t.Errorf("start of %s says %q", profile, words)
		}
	}
	if strings.Count(r.stderr, bootsAgain) > 1 {
		d.t.Errorf("start of %s says more than once why it boots", profile)
	}
}

// What a start says, and what it does not say of a machine that goes on or boots as it should.
const (
	freezes    = "Freezing"
	goesOn     = "it goes on where it was stopped"
	bootsAgain = "the machine boots from its disk instead of going on where it was stopped"
)

func lifeWith(t *testing.T, d *dory, version string) {
	d.begins("one", []string{freezes}, []string{bootsAgain}) // whatever other QEMUs have frozen
	d.ranWith("one", version)
	d.must(commandLimit, "pause", "-p", "one")
	d.begins("two", nil, []string{freezes, bootsAgain})
	d.ranWith("two", version)
	d.keeps("two")
	d.must(startLimit, "stop", "-p", "two")
	d.begins("two", []string{goesOn}, []string{bootsAgain})
	d.kept("two")
	if got := d.in("two", "cat /run/only-in-memory"); got != "two" {
		t.Errorf("in memory it has %q", got)
	}
	d.leavesNothing("one", "two")
}

// leavesNothing deletes clusters.
func (d *dory) leavesNothing(profiles ...string) {
	d.t.Helper()
	for _, profile := range profiles {
		d.must(commandLimit, "delete", "-p", profile)
		if left, err := os.ReadDir(filepath.Join(d.home, "state", "clusters", profile)); err == nil {
			d.t.Errorf("left of %s: %v", profile, left)
		}
	}
	if pids := d.processes(); len(pids) != 0 {
		d.t.Errorf("processes left: %v", pids)
	}
}

// upgraded is what becomes of one QEMU's clusters and template when dory finds another one in its place, and then the old one again.
func upgraded(t *testing.T, before, after *dory, from, to string) {
	before.begins("saved", nil, []string{freezes})
	before.keeps("saved")
	before.must(startLimit, "stop", "-p", "saved")
	before.begins("off", nil, []string{freezes})
	before.keeps("off")
	before.must(startLimit, "stop", "-p", "off", "--power-off")
	before.begins("runs", nil, []string{freezes})
	before.keeps("runs")

	// What runs, runs on, and can be stopped.
	after.begins("runs", []string{"ready already"}, nil)
	after.ranWith("runs", from)
	after.kept("runs")
	after.must(startLimit, "stop", "-p", "runs")

	// A template is forked by its own QEMU alone.
	after.begins("fresh", nil, []string{freezes}) // its own is there
	after.ranWith("fresh", to)
	after.leavesNothing("fresh")
	var templates []struct{ Key, Inputs any }
	if err := json.Unmarshal([]byte(after.must(commandLimit, "template", "list", "-o", "json")), &templates); err != nil || len(templates) != len(qemu.Tried) {
		t.Errorf("templates: %+v, %v", templates, err)
	}

	after.begins("saved", []string{bootsAgain + ": it ran with QEMU " + from + "."}, nil)
	after.ranWith("saved", to)
	after.kept("saved")
	after.leavesNothing("saved")
	after.begins("off", nil, []string{bootsAgain})
	after.ranWith("off", to)
	after.kept("off")
	after.leavesNothing("off")

	// Back again nothing is lost that nobody has started meanwhile.
	before.begins("runs", []string{goesOn}, []string{bootsAgain})
	before.ranWith("runs", from)
	before.kept("runs")
	before.leavesNothing("runs")
}
