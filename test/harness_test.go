//go:build vm

// Package test runs the program from outside, against real VMs: what a user types, and what then is true.
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
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Limits are generous: the VMs are emulated, and the machine may be loaded.
const (
	startLimit   = 15 * time.Minute
	commandLimit = 3 * time.Minute
)

// dory is the program with a home of its own.
type dory struct {
	t    *testing.T
	home string // DORY_HOME
	env  []string
	// slowest is how long it took at most to end after an interruption.
	slowest time.Duration
	// under is a command that executes dory, with arguments; empty: nothing does.
	under []string
}

// of is the same program and home for a part of the test.
func (d *dory) of(t *testing.T) *dory { return &dory{t: t, home: d.home, env: d.env} }

// newDory returns the program with an empty home, and no cluster of it survives the test.
func newDory(t *testing.T) *dory {
	t.Helper()
	root := t.TempDir()
	cache, err := os.UserCacheDir() // where 'make artifacts' puts the node image and the bundle
	if err != nil {
		t.Fatal(err)
	}
	d := &dory{t: t, home: filepath.Join(root, "home"), env: append(os.Environ(),
		"DORY_HOME="+filepath.Join(root, "home"),
		"KUBECONFIG="+filepath.Join(root, "kubeconfig"),
		"XDG_CACHE_HOME="+cache,
		"NO_COLOR=1",
	)}
	if home := os.Getenv("DORY_HOME"); home != "" { // the artifacts are below it then
		if err := os.MkdirAll(filepath.Join(d.home, "cache"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(filepath.Join(home, "cache", "artifacts"), filepath.Join(d.home, "cache", "artifacts")); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		if t.Failed() {
			d.evidence()
		}
		d.run(commandLimit, "delete", "--all")
		for _, pid := range d.processes() {
			t.Errorf("process %d outlived the test", pid)
			syscall.Kill(pid, syscall.SIGKILL)
		}
	})
	return d
}

// runPart runs a part of a long test.
type runPart func(name string, f func(t *testing.T, d *dory))

// parts returns what runs the parts of a long test, until one fails: what comes later stands on what came before. Those that are
// given to more are left to 'make test-all'.
func (d *dory) parts(t *testing.T) (part, more runPart) {
	part = func(name string, f func(t *testing.T, d *dory)) {
		if t.Failed() {
			return
		}
		t.Run(name, func(t *testing.T) { f(t, d.of(t)) })
	}
	if more = part; testing.Short() {
		more = func(string, func(*testing.T, *dory)) {}
	}
	return part, more
}

// onlyInAll leaves a test to 'make test-all': what 'make test' shows must have been shown within an hour on a slow computer.
func onlyInAll(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("left to 'make test-all'")
	}
}

// result is what a command printed and how it ended.
type result struct {
	stdout, stderr string
	code           int
	took           time.Duration
}

func binary(t *testing.T) string {
	t.Helper()
	path, err := filepath.Abs("../bin/dory")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("%v; 'make build' makes it", err)
	}
	return path
}

func (d *dory) command(ctx context.Context, args ...string) *exec.Cmd {
	args = slices.Concat(d.under, []string{binary(d.t)}, args)
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Env = d.env
	// At its limit it is interrupted, and so leaves no machine; what even then does not end is killed.
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 30 * time.Second
	return cmd
}

func (d *dory) run(limit time.Duration, args ...string) result { return d.pipe(limit, "", args...) }

// pipe runs dory with standard input.
func (d *dory) pipe(limit time.Duration, stdin string, args ...string) result {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	cmd := d.command(ctx, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &stdout, &stderr
	began := time.Now()
	err := cmd.Run()
	r := result{stdout.String(), stderr.String(), 0, time.Since(began)}
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		r.code = exit.ExitCode()
	} else if err != nil {
		d.t.Fatalf("dory %s: %v", strings.Join(args, " "), err)
	}
	return r
}

// must runs dory and fails the test unless it exits 0.
func (d *dory) must(limit time.Duration, args ...string) string {
	d.t.Helper()
	return d.expect(0, limit, args...).stdout
}

// expect runs dory and fails the test unless it exits with code.
func (d *dory) expect(code int, limit time.Duration, args ...string) result {
	d.t.Helper()
	r := d.run(limit, args...)
	if r.code != code {
		d.t.Fatalf("dory %s: exit %d instead of %d after %v\n%s\n%s", strings.Join(args, " "), r.code, code, r.took, r.stdout, r.stderr)
	}
	return r
}

// kubectl runs the cluster's own kubectl and fails the test unless it succeeds.
func (d *dory) kubectl(args ...string) string {
	d.t.Helper()
	return d.must(commandLimit, append([]string{"kubectl", "--"}, args...)...)
}

func (d *dory) apply(manifest string) {
	d.t.Helper()
	if r := d.pipe(commandLimit, manifest, "kubectl", "--", "apply", "-f", "-"); r.code != 0 {
		d.t.Fatalf("apply: %s", r.stderr)
	}
}

// eventually repeats f until it returns no error.
func (d *dory) eventually(what string, limit time.Duration, f func() error) {
	d.t.Helper()
	var err error
	for began := time.Now(); time.Since(began) < limit; time.Sleep(200 * time.Millisecond) {
		if err = f(); err == nil {
			return
		}
	}
	d.t.Fatalf("%s: not after %v: %v", what, limit, err)
}

// errorString is a reason for eventually to try again.
type errorString string

func (e errorString) Error() string { return string(e) }

// processes returns the pids of the machines of this home: their command lines name its files.
func (d *dory) processes() []int {
	var pids []int
	entries, _ := os.ReadDir("/proc")
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		args, _ := os.ReadFile(filepath.Join("/proc", entry.Name(), "cmdline"))
		if strings.Contains(string(args), "qemu-system") && strings.Contains(string(args), d.home) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// processesBelow are the processes that work in a directory below dir, as machines do in their own.
func (d *dory) processesBelow(dir string) (found []string) {
	entries, _ := os.ReadDir("/proc")
	for _, entry := range entries {
		args, _ := os.ReadFile(filepath.Join("/proc", entry.Name(), "cmdline"))
		works, _ := os.Readlink(filepath.Join("/proc", entry.Name(), "cwd"))
		if strings.HasPrefix(works, dir+"/") {
			found = append(found, fmt.Sprintf("process %s in %s: %.200q", entry.Name(), works, args))
		}
	}
	return found
}

// evidence prints what a failed test leaves to look at: of each cluster what runs in it, the journal and the logs, the consoles' tails.
func (d *dory) evidence() {
	clusters, _ := os.ReadDir(filepath.Join(d.home, "state", "clusters"))
	for _, c := range clusters {
		if !c.IsDir() { // a lock
			continue
		}
		for _, args := range [][]string{
			{"kubectl", "--", "get", "pods,pvc", "-A", "-o", "wide"},
			{"kubectl", "--", "get", "events", "-A", "--sort-by=.lastTimestamp"},
			{"logs", "--problems"},
		} {
			if r := d.run(time.Minute, append([]string{"-p", c.Name()}, args...)...); r.code == 0 {
				d.t.Logf("%s: dory %s:\n%s", c.Name(), strings.Join(args, " "), tail(r.stdout, 60))
			}
		}
	}
	filepath.WalkDir(filepath.Join(d.home, "state"), func(path string, entry os.DirEntry, err error) error {
		name := filepath.Base(path)
		if err == nil && !entry.IsDir() && (strings.HasSuffix(name, ".log") || strings.Contains(name, "console")) {
			content, _ := os.ReadFile(path)
			d.t.Logf("the end of %s:\n%s", path, tail(string(content), 30))
		}
		return nil
	})
}

func tail(text string, lines int) string {
	all := strings.Split(strings.TrimRight(text, "\n"), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
