//go:build vm

package test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
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
	ctx, cancel := context.WithTimeout(context.Background(), startLimit)
	defer cancel()
	cmd := d.command(ctx, append([]string{"start", "-o", "json"}, flags...)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		d.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		d.t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		var e event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			d.t.Errorf("not an event: %s", lines.Text())
		}
		if step == "" && e.Type == "dev.dory.step" && !slices.Contains(seen, e.Data.Name) {
			step = e.Data.Name
			cmd.Process.Signal(signal)
		}
	}
	sent := time.Now()
	err = cmd.Wait()
	if signal == syscall.SIGINT && step != "" && time.Since(sent) > 30*time.Second {
		d.t.Errorf("interrupted in step %s, it took %v to end", step, time.Since(sent))
	}
	if exit, ok := err.(*exec.ExitError); ok {
		code = exit.ExitCode()
	}
	d.t.Logf("%v in step %q: exit %d", signal, step, code)
	return step, code
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
