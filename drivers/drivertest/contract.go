package drivertest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dorykube/dory/drivers"
	"github.com/dorykube/dory/internal/fail"
)

// Run checks the contract.
func Run(t *testing.T, s Suite) {
	t.Run("Check", s.check)
	t.Run("Absent", s.absent)
	t.Run("Life", s.life)
	t.Run("TwoAtOnce", s.twoAtOnce)
	if s.forwards() {
		t.Run("TakenPort", s.takenPort)
	}
	t.Run("Cancelled", s.cancelled)
	t.Run("ForeignFiles", s.foreignFiles)
	t.Run("Snapshots", s.snapshots)
}

func (s *Suite) check(t *testing.T) {
	report := s.New(t).Check(t.Context())
	t.Logf("%+v", report)
	if !report.Usable || report.Summary == "" || len(report.Findings) == 0 {
		t.Errorf("the driver does not work here: %+v", report)
	}
	for _, f := range report.Findings {
		if f.Name == "" || f.Evidence == "" || f.OK && f.Remedy != "" {
			t.Errorf("finding %+v", f)
		}
	}
}

// absent: what is said and done about a machine that does not exist.
func (s *Suite) absent(t *testing.T) {
	r := s.rig(t, "absent")
	r.is(drivers.Absent)
	r.must("stop", r.driver.Stop(t.Context(), r.machine, time.Second))
	r.must("delete", r.driver.Delete(t.Context(), r.machine))
	if _, err := r.driver.Start(t.Context(), r.machine); err == nil {
		t.Error("a machine that was never created starts")
	}
	if c, ok := r.driver.(drivers.Console); ok {
		if _, err := c.Console(t.Context(), r.machine); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the console of an absent machine: %v", err)
		}
	}
	if p, ok := r.driver.(drivers.Pauser); ok && p.Pause(t.Context(), r.machine) == nil {
		t.Error("an absent machine can be paused")
	}
	r.is(drivers.Absent)
	if _, err := os.Stat(r.machine.Dir); err == nil {
		t.Error("its directory exists")
	}
}

// life: one machine through everything that can happen to one. Its stages follow each other, to save boots.
func (s *Suite) life(t *testing.T) {
	r := s.rig(t, "life")
	stage := func(name string, f func(*rig)) {
		t.Helper()
		if t.Failed() {
			return
		}
		began := time.Now()
		f(r)
		t.Logf("%-12s %.1fs", name, time.Since(began).Seconds())
	}
	stage("create", createTwice)
	stage("first boot", firstBoot)
	stage("grow", grow)
	stage("pause", pause)
	stage("hang", hang)
	stage("stop", stopGracefully)
	if s.Lend == nil {
		stage("second boot", secondBoot)
		stage("killed", killed)
		stage("power-off", powersItselfOff)
	}
	stage("delete", deleteWhileRunning)
}

func createTwice(r *rig) {
	for range 2 {
		r.create()
		if status := r.is(drivers.Stopped); status.Reason != "" {
			r.t.Errorf("a new machine died of %q", status.Reason)
		}
	}
	if info, err := os.Stat(r.machine.Dir); err != nil || info.Mode().Perm() != 0o700 {
		r.t.Errorf("the machine's directory: %v, %v", info, err)
	}
}

const keptFile = "/var/lib/kept"

func firstBoot(r *rig) {
	first := r.start()
	if first.Accel == "" || first.AccelReason == "" {
		r.t.Errorf("no accelerator, or no reason for it: %+v", first)
	}
	r.sh(first, "true")
	if got := r.sh(first, "hostname"); r.Lend == nil && got != r.machine.Name {
		r.t.Errorf("the machine's host name is %q", got)
	}
	r.sh(first, "echo kept > "+keptFile)
	again := r.start()
	if again.PID != first.PID || again.SSH != first.SSH {
		r.t.Errorf("a second start changed %+v into %+v", first, again)
	}
	if console := r.console(1 << 20); r.Lend == nil && !strings.Contains(console, r.machine.Name) {
		r.t.Errorf("the console says nothing of the machine: %q", console)
	}
	if err := filepath.WalkDir(r.machine.Dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err == nil && info.Mode().IsRegular() && info.Mode().Perm()&0o077 != 0 {
			r.t.Errorf("others may use %s: %v", path, info.Mode())
		}
		return err
	}); err != nil {
		r.t.Error(err)
	}
}

// grow: a disk becomes larger while its guest runs, and never smaller.
func grow(r *rig) {
	grower, ok := r.driver.(drivers.Grower)
	if !ok {
		return
	}
	before := r.machine.Disk
	r.machine.Disk += 1 << 30
	r.must("grow", grower.Grow(r.t.Context(), r.machine))
	smaller := r.machine
	smaller.Disk = before
	r.must("grow to less", grower.Grow(r.t.Context(), smaller))
	// The disk is told by its serial; sectors are of 512 bytes.
	got := r.sh(r.is(drivers.Running), `for s in /sys/block/*/serial; do [ "$(cat $s)" = dory-data ] && cat ${s%/serial}/size; done; true`)
	if want := fmt.Sprint(r.machine.Disk / 512); got != want {
		r.t.Errorf("the guest's disk has %s sectors, not %s", got, want)
	}
}

func pause(r *rig) {
	p, ok := r.driver.(drivers.Pauser)
	if !ok {
		return
	}
	ctx := r.t.Context()
	for range 2 {
		r.must("pause", p.Pause(ctx, r.machine))
		r.is(drivers.Paused)
	}
	for range 2 {
		r.must("unpause", p.Unpause(ctx, r.machine))
		r.sh(r.is(drivers.Running), "true")
	}
	r.must("pause", p.Pause(ctx, r.machine))
	r.sh(r.start(), "true") // a start, too, lets it go on
}

func hang(r *rig) {
	if r.Halt == nil {
		return
	}
	running := r.is(drivers.Running)
	r.Halt(r.t, running)
	if status := r.becomes(drivers.Unknown, 5*time.Second); status.Reason == "" {
		r.t.Error("a machine hangs for no reason")
	}
	r.is(drivers.Unknown)
	if _, err := r.driver.Start(r.t.Context(), r.machine); err == nil {
		r.t.Error("a machine that hangs can be started")
	}
	inNobodysWay(r)
	r.Resume(r.t, running)
	r.sh(r.becomes(drivers.Running, 10*time.Second), "true")
}

// inNobodysWay makes and deletes another machine beside one that hangs.
func inNobodysWay(r *rig) {
	other := r.rig(r.t, "beside")
	other.create()
	other.is(drivers.Stopped)
	began := time.Now()
	other.must("delete", other.driver.Delete(r.t.Context(), other.machine))
	if took := time.Since(began); took > 10*time.Second {
		r.t.Errorf("delete beside a machine that hangs took %v", took)
	}
	other.is(drivers.Absent)
}

func stopGracefully(r *rig) {
	// Without a sync: that is what graceful means.
	r.sh(r.is(drivers.Running), "echo graceful >> "+keptFile)
	began := time.Now()
	r.must("stop", r.driver.Stop(r.t.Context(), r.machine, stopLimit))
	if took := time.Since(began); took >= stopLimit {
		r.t.Errorf("the machine did not power off by itself within %v", took)
	}
	for range 2 {
		if status := r.is(drivers.Stopped); status.Reason != "" {
			r.t.Errorf("a stopped machine died of %q", status.Reason)
		}
		r.must("stop again", r.driver.Stop(r.t.Context(), r.machine, stopLimit))
	}
}

// secondBoot: the same disk, larger than before.
func secondBoot(r *rig) {
	r.machine.Disk *= 2
	r.create()
	status := r.start()
	if got := r.sh(status, "cat "+keptFile); got != "kept\ngraceful" {
		r.t.Errorf("the disk came back with %q", got)
	}
	got := r.sh(status, `for s in /sys/block/*/serial; do if grep -qx dory-data $s; then echo $(($(cat ${s%serial}size) * 512)); fi; done`)
	if got != fmt.Sprint(r.machine.Disk) {
		r.t.Errorf("the disk has %s bytes, want %d", got, r.machine.Disk)
	}
	r.sh(status, "echo synced >> "+keptFile+" && sync")
}

func killed(r *rig) {
	if r.Kill == nil {
		return
	}
	r.Kill(r.t, r.is(drivers.Running))
	if status := r.becomes(drivers.Stopped, 10*time.Second); status.Reason == "" {
		r.t.Error("a killed machine died of nothing")
	}
	if got := r.sh(r.start(), "cat "+keptFile); got != "kept\ngraceful\nsynced" {
		r.t.Errorf("after a kill the disk came back with %q", got)
	}
}

func powersItselfOff(r *rig) {
	// The connection may be gone before the command's end is told.
	r.sh(r.is(drivers.Running), "nohup sh -c 'sleep 1; systemctl poweroff' > /dev/null 2>&1 &")
	if status := r.becomes(drivers.Stopped, stopLimit); !strings.Contains(status.Reason, "powered itself off") {
		r.t.Errorf("the reason is %q", status.Reason)
	}
}

func deleteWhileRunning(r *rig) {
	running := r.start()
	for range 2 {
		began := time.Now()
		r.must("delete", r.driver.Delete(r.t.Context(), r.machine))
		if took := time.Since(began); took > 10*time.Second {
			r.t.Errorf("delete took %v", took)
		}
		r.is(drivers.Absent)
	}
	if _, err := os.Stat(r.machine.Dir); err == nil {
		r.t.Error("the machine's directory is left")
	}
	conn, err := net.DialTimeout("tcp", running.SSH, time.Second)
	if err == nil {
		conn.Close()
	}
	if answers, ought := err == nil, r.Lend != nil; answers != ought {
		r.t.Errorf("its SSH port answers: %v (%v)", answers, err)
	}
}

// twoAtOnce: machines do not get in each other's way.
func (s *Suite) twoAtOnce(t *testing.T) {
	rigs := []*rig{s.rig(t, "one"), s.rig(t, "two")}
	statuses := make([]drivers.Status, len(rigs))
	var all sync.WaitGroup
	for i, r := range rigs {
		all.Go(func() {
			if err := r.driver.Create(t.Context(), r.machine); err != nil {
				t.Error(err)
				return
			}
			var err error
			if statuses[i], err = r.driver.Start(t.Context(), r.machine); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if t.Failed() {
		return
	}
	ports := map[int]bool{}
	for i, r := range rigs {
		r.runs(statuses[i])
		for _, f := range statuses[i].Forwards {
			ports[f.Host] = true
		}
	}
	if len(ports) != 4 && s.forwards() {
		t.Errorf("two machines share a port: %+v", statuses)
	}
	rigs[0].must("stop", rigs[0].driver.Stop(t.Context(), rigs[0].machine, 0))
	rigs[0].is(drivers.Stopped)
	rigs[1].is(drivers.Running)
	rigs[0].must("delete", rigs[0].driver.Delete(t.Context(), rigs[0].machine))
	rigs[1].is(drivers.Running)
}

// takenPort: a port that is asked for is had, or an error; one that is preferred is had, or another.
func (s *Suite) takenPort(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	port := taken.Addr().(*net.TCPAddr).Port
	r := s.rig(t, "port")
	r.create()
	r.machine.Forwards[1].Host = port
	_, err = r.driver.Start(t.Context(), r.machine)
	if !fail.Is(err, fail.PortTaken) || !strings.Contains(err.Error(), fmt.Sprint(port)) {
		t.Errorf("start with a taken port: %v", err)
	}
	r.is(drivers.Stopped)
	r.machine.Forwards[1].Prefer = true
	if got := r.start().HostPort("apiserver"); got == port {
		t.Errorf("the machine has port %d, which is somebody else's", got)
	}
	r.must("stop", r.driver.Stop(t.Context(), r.machine, 0))
	taken.Close()
	for _, prefer := range []bool{true, false} {
		r.machine.Forwards[1].Prefer = prefer
		if got := r.start().HostPort("apiserver"); got != port {
			t.Errorf("the machine has port %d, not the free %d that it was to have", got, port)
		}
		r.must("stop", r.driver.Stop(t.Context(), r.machine, 0))
	}
}

// cancelled: a call that is interrupted ends early, and the next one mends what it left.
func (s *Suite) cancelled(t *testing.T) {
	r := s.rig(t, "cancelled")
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.driver.Create(gone, r.machine); !errors.Is(err, context.Canceled) {
		t.Errorf("create: %v", err)
	}
	r.create()
	for _, after := range []time.Duration{0, 5 * time.Millisecond, 20 * time.Millisecond, 60 * time.Millisecond, 100 * time.Millisecond} {
		ctx, cancel := context.WithTimeout(t.Context(), after)
		status, err := r.driver.Start(ctx, r.machine)
		cancel()
		switch {
		case err == nil:
			r.runs(status)
			r.is(drivers.Running)
			r.must("stop", r.driver.Stop(t.Context(), r.machine, 0))
		case !errors.Is(err, context.DeadlineExceeded):
			t.Errorf("start, cancelled after %v: %v", after, err)
		case s.Lend == nil:
			r.is(drivers.Stopped)
		default: // a machine of its own mind may have started, unheard
			r.start()
			r.must("stop", r.driver.Stop(t.Context(), r.machine, 0))
		}
	}
	r.start()
	if _, err := r.driver.Status(gone, r.machine); !errors.Is(err, context.Canceled) {
		t.Errorf("status: %v", err)
	}
	if s.Lend == nil {
		r.cancelStop()
	}
	if err := r.driver.Delete(gone, r.machine); !errors.Is(err, context.Canceled) {
		t.Errorf("delete: %v", err)
	}
	r.must("delete", r.driver.Delete(t.Context(), r.machine))
	r.is(drivers.Absent)
}

// cancelStop: the guest is only beginning to boot, and would not hear the power button for a while.
func (r *rig) cancelStop() {
	t := r.t
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	began := time.Now()
	if err := r.driver.Stop(ctx, r.machine, stopLimit); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("stop: %v", err)
	}
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("a cancelled stop took %v", took)
	}
	r.is(drivers.Running)
}

// foreignFiles: what others put into the machine's directory is theirs.
func (s *Suite) foreignFiles(t *testing.T) {
	r := s.rig(t, "foreign")
	r.create()
	theirs := filepath.Join(r.machine.Dir, "notes.txt")
	if err := os.WriteFile(theirs, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	r.start()
	r.must("stop", r.driver.Stop(t.Context(), r.machine, 0))
	r.must("delete", r.driver.Delete(t.Context(), r.machine))
	r.is(drivers.Absent)
	if content, err := os.ReadFile(theirs); err != nil || string(content) != "mine" {
		t.Errorf("the foreign file is now %q, %v", content, err)
	}
	left, err := os.ReadDir(r.machine.Dir)
	if err != nil || len(left) != 1 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
