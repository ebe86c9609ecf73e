package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// program is what is measured; 'make bench' builds it.
const program = "bin/dory"

// home is a DORY_HOME of its own.
type home struct {
	dir string
	env []string
}

// cacheRoot is where 'make artifacts' put the node image and the bundle.
func cacheRoot() string {
	if dir := os.Getenv("DORY_HOME"); dir != "" {
		return filepath.Join(dir, "cache")
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return ""
	}
	return filepath.Join(dir, "dory")
}

func artifacts() string { return filepath.Join(cacheRoot(), "artifacts") }

// newHome makes an empty home; only the artifacts, and what is known of QEMU on this computer, are there already.
func newHome() (*home, error) {
	dir, err := os.MkdirTemp("", "dory-bench-")
	if err != nil {
		return nil, err
	}
	if err := os.Mkdir(filepath.Join(dir, "cache"), 0o700); err != nil {
		return nil, err
	}
	for _, name := range []string{"artifacts", "qemu"} {
		if err := os.Symlink(filepath.Join(cacheRoot(), name), filepath.Join(dir, "cache", name)); err != nil {
			return nil, err
		}
	}
	// A limit, not a wait: on a loaded computer a figure is marked, and still a figure.
	env := append(os.Environ(), "DORY_HOME="+dir, "KUBECONFIG="+filepath.Join(dir, "kubeconfig"), "DORY_WAIT_TIMEOUT=30m")
	return &home{dir, env}, nil
}

// remove deletes what a run may have left.
func (d *home) remove(ctx context.Context) {
	if _, err := d.dory(ctx, "delete", "--all"); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
	}
	os.RemoveAll(d.dir)
}

func (d *home) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = d.env
	// dory ends what it has begun when it is interrupted, and is killed if it takes long.
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 30 * time.Second
	return cmd
}

func (d *home) dory(ctx context.Context, args ...string) (string, error) {
	out, err := output(d.command(ctx, args...), "")
	if err != nil {
		return "", fmt.Errorf("dory %s: %w", strings.Join(args, " "), err)
	}
	return out, nil
}

// output runs a command and returns what it prints; the error has what it says on stderr.
func output(cmd *exec.Cmd, stdin string) (string, error) {
	var stdout, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%w: %s", err, strings.TrimSpace(stderr.String()))
	}
	return stdout.String(), nil
}

// stepEnd is the end of a step of a start.
type stepEnd struct {
	name string
	at   time.Time
	took time.Duration
}

// events runs dory with -o json and returns when each step ended.
func (d *home) events(ctx context.Context, args ...string) (steps []stepEnd, err error) {
	err = d.follow(ctx, func(end stepEnd) { steps = append(steps, end) }, args...)
	return steps, err
}

// until runs dory with -o json and interrupts it at the end of a step.
func (d *home) until(ctx context.Context, step string, args ...string) error {
	cut, cancel := context.WithCancel(ctx)
	defer cancel()
	err := d.follow(cut, func(end stepEnd) {
		if end.name == step {
			cancel()
		}
	}, args...)
	if cut.Err() == nil {
		return fmt.Errorf("dory %s ended before step %s did: %w", strings.Join(args, " "), step, err)
	}
	return ctx.Err()
}

// follow runs dory with -o json and tells of the end of each step when it comes.
func (d *home) follow(ctx context.Context, ended func(stepEnd), args ...string) error {
	cmd := d.command(ctx, append(args, "-o", "json")...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	var last string
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		last = lines.Text()
		if end, ok := parseStep(lines.Bytes(), time.Now()); ok {
			ended(end)
		}
	}
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("dory %s: %w: %s", strings.Join(args, " "), err, last)
	}
	return nil
}

// parseStep reads one line of "start -o json", which came now; ok says whether it is the end of a step.
func parseStep(line []byte, now time.Time) (end stepEnd, ok bool) {
	var e struct {
		Type string `json:"type"`
		Data struct {
			Name     string  `json:"name"`
			Duration float64 `json:"duration"` // seconds
		} `json:"data"`
	}
	if json.Unmarshal(line, &e) != nil || e.Type != "dev.dory.step" || e.Data.Duration == 0 {
		return stepEnd{}, false
	}
	return stepEnd{e.Data.Name, now, time.Duration(e.Data.Duration * float64(time.Second))}, true
}

// machines returns the pids of the machines that have files below a directory.
func machines(dir string) []int {
	var pids []int
	entries, _ := os.ReadDir("/proc")
	for _, entry := range entries {
		args, _ := os.ReadFile(filepath.Join("/proc", entry.Name(), "cmdline"))
		if pid, err := strconv.Atoi(entry.Name()); err == nil && bytes.Contains(args, []byte("qemu-system")) && bytes.Contains(args, []byte(dir)) {
			pids = append(pids, pid)
		}
	}
	return pids
}
