package qemu

import (
	"bytes"
	"context"
	endian "encoding/binary"
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// States of a process, from sys/proc.h.
const (
	procStopped = 4 // SSTOP
	procZombie  = 5 // SZOMB
)

func identify(pid int) (identity, error) {
	info, err := unix.SysctlKinfoProc("kern.proc.pid", pid)
	if err != nil || int(info.Proc.P_pid) != pid || info.Proc.P_stat == procZombie {
		return identity{}, errNoProcess
	}
	started := info.Proc.P_starttime
	return identity{PID: pid, Started: fmt.Sprintf("%d.%06d", started.Sec, started.Usec), Boot: bootID()}, nil
}

func isHalted(pid int) bool {
	info, err := unix.SysctlKinfoProc("kern.proc.pid", pid)
	return err == nil && info.Proc.P_stat == procStopped
}

// hasUUID reads the arguments of a process: their number, the program's path, padding, then the arguments, each ended by
// a zero.
func hasUUID(pid int, uuid string) bool {
	raw, err := unix.SysctlRaw("kern.procargs2", pid)
	if err != nil || len(raw) < 4 {
		return false
	}
	count := int(endian.NativeEndian.Uint32(raw))
	_, rest, _ := bytes.Cut(raw[4:], []byte{0})
	rest = bytes.TrimLeft(rest, "\x00")
	var args []string
	for len(args) < count && len(rest) > 0 {
		arg, after, _ := bytes.Cut(rest, []byte{0})
		args, rest = append(args, string(arg)), after
	}
	return uuidInArguments(args, uuid)
}

func processesWithUUID(uuid string) (found []identity) {
	all, err := unix.SysctlKinfoProcSlice("kern.proc.uid", os.Geteuid())
	if err != nil {
		return nil
	}
	for _, info := range all {
		pid := int(info.Proc.P_pid)
		if !hasUUID(pid, uuid) {
			continue
		}
		if id, err := identify(pid); err == nil {
			found = append(found, id)
		}
	}
	return found
}

// worksIn is not asked of macOS, which tells a process's working directory only to C: the UUID in its arguments has to
// do.
func worksIn(int, string) bool { return true }

// heldProcess is no more than a number here: macOS has no pidfd.
type heldProcess struct{ id identity }

func holdProcess(id identity) (*heldProcess, error) {
	if now, err := identify(id.PID); err != nil || now != id {
		return nil, errNoProcess
	}
	return &heldProcess{id}, nil
}

func (p *heldProcess) kill() error {
	err := unix.Kill(p.id.PID, unix.SIGKILL)
	if errors.Is(err, unix.ESRCH) {
		return os.ErrProcessDone
	}
	return err
}

func (p *heldProcess) wait(ctx context.Context) error { return pollProcess(ctx, p.id) }

func (p *heldProcess) release() {}

func detached() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setsid: true} }
