//go:build vm

package test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// event is one line of "start -o json".
type event struct {
	SpecVersion string `json:"specversion"`
	Type        string `json:"type"`
	Data        struct {
		Name     string `json:"name"`
		Message  string `json:"message"`
		ID       string `json:"id"`
		Advice   string `json:"advice"`
		ExitCode any    `json:"exitcode"`
	} `json:"data"`
}

// interrupted runs a start and sends it the signal when it begins a step that is not in seen. It returns that step, or ""
// if the start ended without a new one, and the exit code.
func (d *dory) interrupted(signal syscall.Signal, seen []string, flags ...string) (step string, code int) {
	d.t.Helper()
	return d.interruptedIn(func(step string) bool { return !slices.Contains(seen, step) }, signal, append([]string{"start"}, flags...)...)
}

// interruptedIn runs a verb and sends it the signal when it begins the first step that is wanted. It returns the step, or ""
// if none came, and the exit code.
func (d *dory) interruptedIn(wanted func(step string) bool, signal syscall.Signal, args ...string) (step string, code int) {
	d.t.Helper()
	var sent time.Time
	r := d.watched(func(s string, cmd *exec.Cmd) {
		if step == "" && wanted(s) {
			step, sent = s, time.Now()
			cmd.Process.Signal(signal)
		}
	}, args...)
	if step != "" {
		d.ended(signal, "step "+step, time.Since(sent))
	}
	d.t.Logf("%v in step %q: exit %d", signal, step, r.code)
	return step, r.code
}

// watched runs a verb and tells of the beginning and the end of each of its steps.
func (d *dory) watched(step func(name string, cmd *exec.Cmd), args ...string) result {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), startLimit)
	defer cancel()
	cmd := d.command(ctx, append(args, "-o", "json")...)
	var stdout, stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		d.t.Fatal(err)
	}
	began := time.Now()
	if err := cmd.Start(); err != nil {
		d.t.Fatal(err)
	}
	lines := bufio.NewScanner(io.TeeReader(out, &stdout))
	for lines.Scan() {
		var e event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			d.t.Errorf("not an event: %s", lines.Text())
		}
		if e.Type == "dev.dory.step" {
			step(e.Data.Name, cmd)
		}
	}
	r := result{took: time.Since(began)}
	if exit := (*exec.ExitError)(nil); errors.As(cmd.Wait(), &exit) {
		r.code = exit.ExitCode()
	}
	r.stdout, r.stderr = stdout.String(), stderr.String()
	return r
}

// ended judges how soon a dory has ended after a signal that asks it to.
func (d *dory) ended(signal syscall.Signal, where string, took time.Duration) {
	d.t.Helper()
	if signal == syscall.SIGKILL {
		return
	}
	d.slowest = max(d.slowest, took)
	d.t.Logf("%v, %s: it ended after %v", signal, where, took.Round(time.Millisecond))
	if took > interruptLimit {
		d.t.Errorf("%v, %s: it took %v to end", signal, where, took)
	}
}

// TestDeleteAfterInterruption kills starts early and late, and deletes what there is.
func TestDeleteAfterInterruption(t *testing.T) {
	for _, ignored := range [][]string{nil, {"artifacts", "machine"}} {
		d := newDory(t)
		d.interrupted(syscall.SIGKILL, ignored)
		d.must(commandLimit, "delete")
		if left := d.processes(); len(left) != 0 {
			t.Errorf("processes left: %v", left)
		}
		for _, left := range []string{"state/clusters/*/*", "cache/templates/*/*"} {
			if files, _ := filepath.Glob(filepath.Join(d.home, left)); files != nil {
				t.Errorf("files left: %v", files)
			}
		}
	}
}

func TestTwoStartsAtOnce(t *testing.T) {
	onlyInAll(t)
	d := newDory(t)
	ctx, cancel := context.WithTimeout(context.Background(), startLimit)
	defer cancel()
	first := d.command(ctx, "start", "--no-template", "--wait=none")
	if err := first.Start(); err != nil {
		t.Fatal(err)
	}
	d.eventually("the first start holds the cluster", time.Minute, func() error {
		if len(d.processes()) == 0 {
			return errorString("no machine yet")
		}
		return nil
	})
	r := d.expect(11, commandLimit, "start")
	if !strings.Contains(r.stderr, strconv.Itoa(first.Process.Pid)) {
		t.Errorf("the second does not say who holds the cluster: %s", r.stderr)
	}
	if err := first.Wait(); err != nil {
		t.Errorf("the first start: %v", err)
	}
	if pids := d.processes(); len(pids) != 1 {
		t.Errorf("machines: %v", pids)
	}
}

func TestPortTaken(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	port := strconv.Itoa(listener.Addr().(*net.TCPAddr).Port)
	d := newDory(t)
	r := d.expect(71, startLimit, "start", "--apiserver-port", port)
	if !strings.Contains(r.stderr, port) || !strings.Contains(r.stderr, "NET_PORT_TAKEN") {
		t.Errorf("the error does not name the port: %s", r.stderr)
	}
	if pids := d.processes(); len(pids) != 0 {
		t.Errorf("machines: %v", pids)
	}
}

// TestWrongExtraConfig gives a component a flag that it does not know: the start ends soon, with the component's words.
func TestWrongExtraConfig(t *testing.T) {
	d := newDory(t)
	r := d.expect(100, startLimit, "start", "--extra-config", "apiserver.no-such-flag=1")
	if !strings.Contains(r.stderr, "no-such-flag") || !strings.Contains(r.stderr, "K8S_COMPONENT_FAILED") {
		t.Errorf("the error does not say what is wrong: %s", r.stderr)
	}
}
