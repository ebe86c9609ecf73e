package main

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// program is what is measured; 'make bench' builds it.
const program = "bin/dory"

// home is a DORY_HOME of its own for one run.
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
	env := append(os.Environ(), "DORY_HOME="+dir, "KUBECONFIG="+filepath.Join(dir, "kubeconfig"))
	return &home{dir, env}, nil
}

// remove deletes what a run may have left.
func (d *home) remove() {
	d.dory("delete", "--all")
	os.RemoveAll(d.dir)
}

func (d *home) command(args ...string) *exec.Cmd {
	cmd := exec.Command(program, args...)
	cmd.Env = d.env
	return cmd
}

func (d *home) dory(args ...string) (string, error) {
	cmd := d.command(args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("dory %s: %w: %s", strings.Join(args, " "), err, stderr.String())
	}
	return string(out), nil
}

// events runs dory with -o json and returns when each step ended.
func (d *home) events(args ...string) ([]stepEnd, error) {
	cmd := d.command(args...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	var steps []stepEnd
	var last string
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		last = lines.Text()
		if end, ok := parseStep(lines.Bytes()); ok {
			steps = append(steps, end)
		}
	}
	if err := cmd.Wait(); err != nil {
		return nil, fmt.Errorf("dory %s: %w: %s", strings.Join(args, " "), err, last)
	}
	return steps, nil
}

// machines returns the pids of the home's machines: their command lines name its files.
func (d *home) machines() []int {
	var pids []int
	entries, _ := os.ReadDir("/proc")
	for _, entry := range entries {
		args, _ := os.ReadFile(filepath.Join("/proc", entry.Name(), "cmdline"))
		if pid, err := strconv.Atoi(entry.Name()); err == nil && bytes.Contains(args, []byte("qemu-system")) && bytes.Contains(args, []byte(d.dir)) {
			pids = append(pids, pid)
		}
	}
	return pids
}
