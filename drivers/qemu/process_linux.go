package qemu

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// procStat is what /proc/PID/stat tells of a process.
type procStat struct {
	state   byte   // R, S, D, T (stopped by a signal), t (by a debugger), Z (dead, not yet buried)
	started string // clock ticks since the computer's boot
}

// readStat reads /proc/PID/stat. The second field, the program's name, may contain anything, parentheses too.
func readStat(pid int) (procStat, error) {
	content, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return procStat{}, errNoProcess
	}
	fields := strings.Fields(string(content[bytes.LastIndexByte(content, ')')+1:]))
	const state, started = 0, 19 // fields 3 and 22 of proc(5)
	if len(fields) <= started {
		return procStat{}, fmt.Errorf("read /proc/%d/stat: %q", pid, content)
	}
	return procStat{state: fields[state][0], started: fields[started]}, nil
}

func identify(pid int) (identity, error) {
	stat, err := readStat(pid)
	if err != nil {
		return identity{}, err
	}
	if stat.state == 'Z' || stat.state == 'X' {
		return identity{}, errNoProcess
	}
	return identity{PID: pid, Started: stat.started, Boot: bootID()}, nil
}

// isHalted reports whether the process was stopped by a signal or a debugger: it exists and will not answer.
func isHalted(pid int) bool {
	stat, err := readStat(pid)
	return err == nil && (stat.state == 'T' || stat.state == 't')
}

func hasUUID(pid int, uuid string) bool { return uuidInArguments(argumentsOf(pid), uuid) }

// ownProcesses are the numbers of this user's processes.
func ownProcesses() (pids []int) {
	entries, _ := os.ReadDir("/proc")
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		var owner unix.Stat_t
		if err == nil && unix.Stat("/proc/"+entry.Name(), &owner) == nil && int(owner.Uid) == os.Geteuid() {
			pids = append(pids, pid)
		}
	}
	return pids
}

// argumentsOf is a process's command line, the program's name first; nil if it is gone.
func argumentsOf(pid int) []string {
	content, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil {
		return nil
	}
	return strings.Split(string(content), "\x00")
}

func processesWithUUID(uuid string) (found []identity) {
	for _, pid := range ownProcesses() {
		if !hasUUID(pid, uuid) {
			continue
		}
		if id, err := identify(pid); err == nil {
			found = append(found, id)
		}
	}
	return found
}

// worksIn reports whether dir is the working directory of a process, or was before somebody removed it.
func worksIn(pid int, dir string) bool {
	link := fmt.Sprintf("/proc/%d/cwd", pid)
	cwd, err := os.Stat(link)
	if err != nil {
		return false
	}
	if want, err := os.Stat(dir); err == nil {
		return os.SameFile(cwd, want)
	}
	was, err := os.Readlink(link)
	was = strings.TrimSuffix(was, deletedSuffix)
	if parent, evalErr := filepath.EvalSymlinks(filepath.Dir(dir)); evalErr == nil {
		dir = filepath.Join(parent, filepath.Base(dir))
	}
	return err == nil && was == dir
}

// heldProcess is a process that cannot be mistaken for another while it is held: its pidfd means this one, whatever
// becomes of its number. A kernel or sandbox without pidfds gives -1.
type heldProcess struct {
	id    identity
	pidfd int
}

// holdProcess takes hold of a process, or returns errNoProcess if it has ended.
func holdProcess(id identity) (*heldProcess, error) {
	fd, err := unix.PidfdOpen(id.PID, 0)
	switch {
	case errors.Is(err, unix.ESRCH):
		return nil, errNoProcess
	case errors.Is(err, unix.ENOSYS), errors.Is(err, unix.EPERM):
		fd = -1
	case err != nil:
		return nil, fmt.Errorf("take hold of process %d: %w", id.PID, err)
	}
	p := &heldProcess{id, fd}
	if now, err := identify(id.PID); err != nil || now != id {
		p.release()
		return nil, errNoProcess
	}
	return p, nil
}

func (p *heldProcess) kill() error {
	var err error
	if p.pidfd >= 0 {
		err = unix.PidfdSendSignal(p.pidfd, unix.SIGKILL, nil, 0)
	} else {
		err = unix.Kill(p.id.PID, unix.SIGKILL)
	}
	if errors.Is(err, unix.ESRCH) {
		return os.ErrProcessDone
	}
	return err
}

// wait waits until the process has ended. It wakes at once when that happens, and within a tenth of a second when ctx
// ends.
func (p *heldProcess) wait(ctx context.Context) error {
	if p.pidfd < 0 {
		return pollProcess(ctx, p.id)
	}
	for {
		fds := []unix.PollFd{{Fd: int32(p.pidfd), Events: unix.POLLIN}}
		n, err := unix.Poll(fds, 100)
		switch {
		case n > 0:
			return nil
		case err != nil && !errors.Is(err, unix.EINTR):
			return fmt.Errorf("wait for the end of process %d: %w", p.id.PID, err)
		case ctx.Err() != nil:
			return ctx.Err()
		}
	}
}

func (p *heldProcess) release() {
	if p.pidfd >= 0 {
		unix.Close(p.pidfd)
		p.pidfd = -1
	}
}

// detached makes a child that the terminal's Ctrl-C and hangup do not reach.
func detached() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setsid: true} }
