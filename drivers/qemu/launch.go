package qemu

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"

	"github.com/dorykube/dory/drivers"
	"github.com/dorykube/dory/internal/fail"
)

// launchLimit is how long QEMU may take to listen to commands. It takes a fifth of a second; hosts can be busy.
const launchLimit = time.Minute

// endedError is a QEMU that ended before it ran the guest.
type endedError struct {
	stderr string
	how    string // "exit status 1"
}

func (e *endedError) Error() string { return "QEMU ended: " + e.how }

// bootRecord is what was chosen at a start. It is written before QEMU is executed and removed when the machine is
// stopped: found without a process, it tells that the machine died.
type bootRecord struct {
	choice
	QEMU        string `json:"qemu"` // version
	MachineType string `json:"machineType"`
	Key         string `json:"key"` // see snapshotKey
}

// launch starts QEMU and waits until the guest executes and its ports are known. A QEMU that does not get so far, because
// it ends or because ctx does, leaves nothing but its log.
func (d *Driver) launch(ctx context.Context, b *binary, s setup) (status drivers.Status, err error) {
	dir := machineDir(s.Machine.Dir)
	record := bootRecord{s.choice, b.Version, s.MachineType, snapshotKey(b, s.MachineType, s.choice, s.Machine)}
	if err := dir.writeVolatileJSON(bootFile, record); err != nil {
		return status, hostError(err, "start machine "+s.Machine.Name)
	}
	cmd, done, err := dir.spawn(b, s)
	if err != nil {
		removeFile(dir.path(bootFile))
		return status, err
	}
	defer func() {
		if err != nil {
			cmd.Process.Kill() // our child: its number is not used again before it is buried, which closes done
			<-done
			dir.forgetProcess()
		}
	}()
	id, err := identify(cmd.Process.Pid)
	if err == nil {
		if err := dir.writeVolatileJSON(processFile, id); err != nil {
			return status, hostError(err, "start machine "+s.Machine.Name)
		}
	}
	limited, cancel := context.WithTimeout(ctx, launchLimit)
	defer cancel()
	ready := make(chan error, 1)
	go func() {
		var err error
		status, err = d.greet(limited, s)
		ready <- err
	}()
	select {
	case err = <-ready:
	case <-done:
		cancel()
		err = <-ready
	}
	if err == nil {
		status.PID = id.PID
		return status, nil
	}
	// QEMU closes its socket a moment before it ends; why it ended is the better answer.
	select {
	case <-done:
		return status, &endedError{dir.stderr(), cmd.ProcessState.String()}
	case <-ctx.Done():
		return status, ctx.Err()
	case <-time.After(lastWords):
		return status, fail.Wrap(fail.QEMUFailed, err, "start machine %s", s.Machine.Name).WithEvidence(tail(dir.stderr()))
	}
}

// lastWords is how long QEMU may take from closing its socket to its end.
const lastWords = 300 * time.Millisecond

// greet waits until QEMU listens, which it does when everything is set up and the guest executes, or can go on.
func (d *Driver) greet(ctx context.Context, s setup) (drivers.Status, error) {
	if s.Load != nil {
		if err := s.Load.load(ctx, machineDir(s.Machine.Dir)); err != nil {
			return drivers.Status{}, err
		}
	}
	for {
		status, err := d.ask(ctx, s.Machine)
		if err == nil || passesSocket || ctx.Err() != nil {
			return status, err
		}
		time.Sleep(pollEvery) // QEMU has not made the socket yet
	}
}

// passesSocket: QEMU inherits its listening control socket. Windows has no such thing.
const passesSocket = runtime.GOOS != "windows"

// spawn executes QEMU. done is closed when it has ended and been buried.
func (dir machineDir) spawn(b *binary, s setup) (cmd *exec.Cmd, done chan struct{}, err error) {
	stderr, err := os.OpenFile(dir.path(stderrFile), os.O_WRONLY|os.O_CREATE|os.O_TRUNC|os.O_APPEND, 0o600)
	if err != nil {
		return nil, nil, hostError(err, "open QEMU's log")
	}
	defer stderr.Close()
	control := noFD
	var inherited []*os.File
	if passesSocket {
		listener, err := listenSocket(dir)
		if err != nil {
			return nil, nil, fmt.Errorf("make QEMU's control socket: %w", err)
		}
		defer listener.Close()
		file, err := listener.File()
		if err != nil {
			return nil, nil, fmt.Errorf("make QEMU's control socket: %w", err)
		}
		defer file.Close()
		control, inherited = socketFD, []*os.File{file}
	} else if err := removeFile(dir.path(socketFile)); err != nil {
		return nil, nil, err
	}
	cmd = exec.Command(b.Path, arguments(s, control)...)
	cmd.Dir = string(dir)
	cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = stderr, stderr, inherited
	cmd.SysProcAttr = detached()
	if err := cmd.Start(); err != nil {
		return nil, nil, fail.Wrap(fail.QEMUFailed, err, "execute %s", b.Path)
	}
	done = make(chan struct{})
	go func() {
		cmd.Wait()
		close(done)
	}()
	return cmd, done, nil
}

// stderr is what QEMU wrote since its last start.
func (dir machineDir) stderr() string {
	content, _ := os.ReadFile(dir.path(stderrFile))
	return strings.TrimSpace(string(content))
}

// forgetProcess removes what only a running machine has.
func (dir machineDir) forgetProcess() error {
	return errors.Join(
		removeFile(dir.path(processFile)),
		removeFile(dir.path(socketFile)),
		removeFile(dir.path(lineFile)),
		removeFile(dir.path(bootFile)),
	)
}

// failure is what a user is told of a QEMU that ended at once: the kind can be told from QEMU's own words only.
func (e *endedError) failure(s setup) error {
	m := s.Machine
	said := func(words ...string) bool {
		for _, w := range words {
			if strings.Contains(e.stderr, w) {
				return true
			}
		}
		return false
	}
	kind, message := fail.QEMUFailed, fmt.Sprintf("start machine %s: %v", m.Name, e)
	advice := ""
	switch port := refusedPort(e.stderr); {
	case port != 0:
		kind, message = fail.PortTaken, fmt.Sprintf("start machine %s: port %d of %s is taken", m.Name, port, loopback)
	case said("annot set up guest memory", "annot allocate memory"):
		kind, message = fail.MemoryTooMuch, fmt.Sprintf("start machine %s: the host does not give it %d MiB of memory", m.Name, m.Memory>>20)
	case said("No space left"):
		kind = fail.DiskTooMuch
	case said(`"write" lock`, "Is another process using the image"):
		message = fmt.Sprintf("start machine %s: another process uses its disk", m.Name)
		advice = "end the other QEMU; 'fuser " + machineDir(m.Dir).path(diskFile) + "' names it"
	case s.Accel != tcg && said("failed to initialize "+s.Accel, "Could not access KVM", "No accelerator found"):
		kind = fail.KVMUnusable
	}
	failure := fail.New(kind, "%s", message).WithEvidence(tail(e.stderr))
	if advice != "" {
		failure.WithAdvice("%s", advice)
	}
	return failure
}
