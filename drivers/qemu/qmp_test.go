package qemu

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// negotiated is the answer to the first request of a conversation.
var negotiated = []string{`{"return": {}, "id": %d}`}

// peer plays QEMU's part of a conversation: for each request that comes, the next answers, with %d for the request's id.
func peer(t *testing.T, conn net.Conn, answers ...[]string) {
	t.Helper()
	fmt.Fprintln(conn, `{"QMP": {"version": {}, "capabilities": ["oob"]}}`)
	requests := bufio.NewScanner(conn)
	for _, lines := range answers {
		if !requests.Scan() {
			return
		}
		var request struct{ ID int }
		json.Unmarshal(requests.Bytes(), &request)
		for _, line := range lines {
			fmt.Fprintln(conn, strings.ReplaceAll(line, "%d", fmt.Sprint(request.ID)))
		}
	}
	io.Copy(io.Discard, conn) // stays, silent
}

func conversation(t *testing.T, answers ...[]string) *monitor {
	t.Helper()
	ours, theirs := net.Pipe()
	t.Cleanup(func() { ours.Close(); theirs.Close() })
	go peer(t, theirs, append([][]string{negotiated}, answers...)...)
	q, err := newMonitor(t.Context(), ours)
	if err != nil {
		t.Fatal(err)
	}
	return q
}

func TestMonitorAnswers(t *testing.T) {
	q := conversation(t,
		[]string{`{"event": "RTC_CHANGE", "data": {"offset": 1}}`, `{"return": {"status": "paused"}, "id": %d}`},
		[]string{`{"error": {"class": "GenericError", "desc": "no such thing"}, "id": %d}`},
		[]string{`{"return": {}, "id": 99}`, `{"return": {}, "id": %d}`, `{"event": "STOP"}`, `{"event": "MIGRATION", "data": {"status": "completed"}}`},
	)
	if state, err := q.runState(t.Context()); state != "paused" || err != nil {
		t.Errorf("runState = %q, %v", state, err)
	}
	var refused *commandError
	if err := q.run(t.Context(), "frobnicate", nil, nil); !errors.As(err, &refused) || refused.Command != "frobnicate" {
		t.Errorf("a refused command: %v", err)
	}
	// A refusal does not end the conversation.
	if err := q.run(t.Context(), "migrate", nil, nil); err != nil {
		t.Errorf("a command after a refused one: %v", err)
	}
	for _, name := range []string{"RTC_CHANGE", "MIGRATION"} { // one that came earlier, one that comes
		if e, err := q.await(t.Context(), func(e event) bool { return e.Name == name }); err != nil || e.Name != name {
			t.Errorf("await %s = %v, %v", name, e, err)
		}
	}
}

// A client that went away has left commands with QEMU, whose answers come to the next one.
func TestMonitorAfterAHastyClient(t *testing.T) {
	ours, theirs := net.Pipe()
	t.Cleanup(func() { ours.Close(); theirs.Close() })
	go func() {
		fmt.Fprintln(theirs, `{"return": {}, "id": -1}`)
		peer(t, theirs,
			[]string{`{"error": {"class": "CommandNotFound", "desc": "negotiation is complete"}, "id": %d}`},
			[]string{`{"error": {"class": "GenericError", "desc": "late"}, "id": -2}`, `{"return": {"status": "running"}, "id": %d}`},
		)
	}()
	q, err := newMonitor(t.Context(), ours)
	if err != nil {
		t.Fatal(err)
	}
	if state, err := q.runState(t.Context()); state != "running" || err != nil {
		t.Errorf("runState = %q, %v", state, err)
	}
}

func TestMonitorIsCutOffByItsContext(t *testing.T) {
	q := conversation(t) // answers nothing after the negotiation
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	began := time.Now()
	if _, err := q.runState(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("runState of a silent QEMU: %v", err)
	}
	if took := time.Since(began); took > time.Second {
		t.Errorf("it took %v", took)
	}
	// What may still come would be the answer to another question.
	if _, err := q.runState(t.Context()); err == nil {
		t.Error("a conversation that was cut off goes on")
	}
}

func TestMonitorMeetsAStranger(t *testing.T) {
	for name, says := range map[string]string{
		"other protocol": "SSH-2.0-OpenSSH\r\n", "other JSON": "{\"hello\": 1}\n", "nothing": "",
	} {
		t.Run(name, func(t *testing.T) {
			ours, theirs := net.Pipe()
			go func() { io.WriteString(theirs, says); theirs.Close() }()
			if q, err := newMonitor(t.Context(), ours); err == nil {
				t.Errorf("a conversation came about: %v", q)
			}
		})
	}
}

// The control socket must work in directories deeper than a socket's path can be.
func TestSocketInADeepDirectory(t *testing.T) {
	for name, through := range map[string]func(machineDir, string, func(string) error) error{
		"here": throughShortPath, "symlink": throughSymlink,
	} {
		t.Run(name, func(t *testing.T) {
			dir := machineDir(filepath.Join(t.TempDir(), strings.Repeat("deep/", 30)))
			if err := os.MkdirAll(string(dir), 0o700); err != nil {
				t.Fatal(err)
			}
			listener, err := listenSocket(dir)
			if err != nil {
				t.Fatal(err)
			}
			defer listener.Close()
			err = through(dir, socketFile, func(path string) error {
				conn, err := net.Dial("unix", path)
				if err == nil {
					conn.Close()
				}
				return err
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
}
