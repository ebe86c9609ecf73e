//go:build linux

package qemu

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/dorykube/dory/drivers"
)

// The test binary plays QEMU, when told so by this variable: "sleep" ignores its arguments and does nothing; any other
// value goes to stderr, and it ends as a QEMU does that cannot start.
const playVariable = "DORY_TEST_PLAY_QEMU"

func TestMain(m *testing.M) {
	switch words := os.Getenv(playVariable); {
	case words == "":
		os.Exit(m.Run())
	case words == "sleep":
		time.Sleep(time.Minute)
	case len(os.Args) > 2 && os.Args[1] == "-machine" && os.Args[2] == "none":
		fmt.Println(`{"return": {"qemu": {"major": 9, "minor": 1, "micro": 2}, "package": ""}, "id": "version"}
{"return": [{"name": "pc-q35-9.1"}, {"name": "pc-q35-10.0"}, {"name": "pc-q35-2.12"}, {"name": "none"}], "id": "machines"}
{"error": {"class": "CommandNotFound", "desc": "no"}, "id": "sandbox"}`)
	default:
		fmt.Fprintln(os.Stderr, words)
		os.Exit(1)
	}
}

// play starts a process that looks like the QEMU of a machine with this UUID, in dir.
func play(t *testing.T, uuid, dir string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Args = []string{"qemu-system-x86_64", "-name", "guest=x y,debug-threads=on", "-uuid", uuid, "-nodefaults"}
	cmd.Env, cmd.Dir = []string{playVariable + "=sleep"}, dir
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { cmd.Wait(); close(ended) }()
	t.Cleanup(func() { cmd.Process.Kill(); <-ended })
	return cmd
}

func runs(pid int) bool { _, err := identify(pid); return err == nil }

const someUUID = "7f3e5d0a-61a6-4c3c-8a8e-0f8f5b7a3b10"

func TestFindProcess(t *testing.T) {
	m := drivers.Machine{UUID: someUUID, Dir: t.TempDir()}
	dir := machineDir(m.Dir)
	if _, err := findProcess(m); !errors.Is(err, errNoProcess) {
		t.Fatalf("without a process: %v", err)
	}
	elsewhere := play(t, someUUID, t.TempDir()) // the same UUID, but not our directory
	other := play(t, "11111111-61a6-4c3c-8a8e-0f8f5b7a3b10", m.Dir)
	if id, err := findProcess(m); err == nil {
		t.Fatalf("found a foreign process: %v (%d, %d)", id, elsewhere.Process.Pid, other.Process.Pid)
	}
	ours := play(t, someUUID, m.Dir)
	want, err := identify(ours.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	otherID, _ := identify(other.Process.Pid)
	reused := want
	reused.Started = "1" // the same number, another process
	for name, record := range map[string]any{
		"right": want, "missing": nil, "garbled": "}{", "number reused": reused, "foreign process": otherID,
		"negative": identity{PID: -1}, "zero": identity{}, "init": identity{PID: 1, Started: "1", Boot: bootID()},
	} {
		t.Run(name, func(t *testing.T) {
			if record == nil {
				removeFile(dir.path(processFile))
			} else if err := dir.writeJSON(processFile, record); err != nil {
				t.Fatal(err)
			}
			if got, err := findProcess(m); err != nil || got != want {
				t.Errorf("found %v, %v; want %v", got, err, want)
			}
		})
	}
	t.Run("directory removed", func(t *testing.T) {
		if err := os.RemoveAll(m.Dir); err != nil {
			t.Fatal(err)
		}
		if got, err := findProcess(m); err != nil || got != want {
			t.Errorf("found %v, %v; want %v", got, err, want)
		}
	})
}

// A machine whose directories were removed by hand is found by them, and deleted. Neither is one whose directory is there, nor
// what else works there.
func TestOwned(t *testing.T) {
	home := t.TempDir()
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(home, link); err != nil {
		t.Fatal(err)
	}
	dir := func(name string) string {
		dir := filepath.Join(home, "clusters", name, "machine")
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	lost := play(t, someUUID, dir("lost"))
	play(t, "11111111-61a6-4c3c-8a8e-0f8f5b7a3b10", dir("there"))
	play(t, "", dir("other"))
	play(t, "22222222-61a6-4c3c-8a8e-0f8f5b7a3b10", t.TempDir())
	for _, gone := range []string{"lost", "other"} {
		if err := os.RemoveAll(filepath.Join(home, "clusters", gone)); err != nil {
			t.Fatal(err)
		}
	}
	d := New(Options{Cache: t.TempDir()})
	for _, asked := range []string{filepath.Join(link, "clusters"), filepath.Join(home, "clusters", "lost", "machine")} {
		found, err := d.Owned(t.Context(), asked)
		if err != nil || len(found) != 1 || found[0].UUID != someUUID || found[0].Name != "x y" || found[0].Dir != filepath.Join(home, "clusters", "lost", "machine") {
			t.Fatalf("%s: %+v, %v", asked, found, err)
		}
		if asked != found[0].Dir {
			continue
		}
		if err := d.Delete(t.Context(), found[0]); err != nil || runs(lost.Process.Pid) {
			t.Errorf("delete: %v, runs: %v", err, runs(lost.Process.Pid))
		}
	}
}

func TestKillProcessKillsOnlyWhatIsProved(t *testing.T) {
	dir := t.TempDir()
	process := play(t, someUUID, dir)
	id, err := identify(process.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	reused := id
	reused.Started = "1"
	for _, attempt := range []struct {
		id   identity
		uuid string
	}{{reused, someUUID}, {id, "another"}, {id, ""}} {
		if err := killProcess(t.Context(), attempt.id, attempt.uuid); err != nil {
			t.Errorf("kill %v as %q: %v", attempt.id, attempt.uuid, err)
		}
		if !runs(id.PID) {
			t.Fatalf("kill %v as %q ended a foreign process", attempt.id, attempt.uuid)
		}
	}
	// A process stopped by a signal must end too.
	if err := process.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(5 * time.Second); !isHalted(id.PID) && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	if !isHalted(id.PID) {
		t.Error("a stopped process is not seen to be halted")
	}
	if err := killProcess(t.Context(), id, someUUID); err != nil || runs(id.PID) {
		t.Errorf("kill: %v, runs: %v", err, runs(id.PID))
	}
}

func TestWaitProcess(t *testing.T) {
	process := play(t, someUUID, t.TempDir())
	id, err := identify(process.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := waitProcess(ctx, id); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("wait for a process that runs: %v", err)
	}
	time.AfterFunc(20*time.Millisecond, func() { process.Process.Kill() })
	for name, wait := range map[string]func(context.Context, identity) error{"held": waitProcess, "polled": pollProcess} {
		if err := wait(t.Context(), id); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestUUIDInArguments(t *testing.T) {
	for _, c := range []struct {
		args []string
		want bool
	}{
		{[]string{"qemu", "-uuid", someUUID, "-smp", "2"}, true},
		{[]string{"qemu", "-uuid"}, false},
		{[]string{"qemu", "-name", someUUID}, false},
		{[]string{"sh", "-c", "qemu -uuid " + someUUID}, false},
		{nil, false},
	} {
		if got := uuidInArguments(c.args, someUUID); got != c.want {
			t.Errorf("%q: %v", c.args, got)
		}
	}
	if uuidInArguments([]string{"-uuid", ""}, "") {
		t.Error("a machine without a UUID matches")
	}
}
