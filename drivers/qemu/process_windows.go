package qemu

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/windows"
)

const processRights = windows.PROCESS_QUERY_LIMITED_INFORMATION | windows.PROCESS_TERMINATE | windows.SYNCHRONIZE

func identify(pid int) (identity, error) {
	handle, err := windows.OpenProcess(processRights, false, uint32(pid))
	if err != nil {
		return identity{}, errNoProcess
	}
	defer windows.CloseHandle(handle)
	return identityOf(handle, pid)
}

func identityOf(handle windows.Handle, pid int) (identity, error) {
	if event, err := windows.WaitForSingleObject(handle, 0); err == nil && event == windows.WAIT_OBJECT_0 {
		return identity{}, errNoProcess // ended, and somebody still holds it
	}
	var created, exited, kernel, user windows.Filetime
	if err := windows.GetProcessTimes(handle, &created, &exited, &kernel, &user); err != nil {
		return identity{}, errNoProcess
	}
	return identity{PID: pid, Started: fmt.Sprint(created.Nanoseconds())}, nil
}

func isHalted(int) bool { return false }

// hasUUID is not asked of Windows, which does not tell another process's arguments; that the process is a QEMU, started
// at the recorded 100 nanoseconds, has to do.
func hasUUID(pid int, _ string) bool {
	handle, err := windows.OpenProcess(windows.PROCESS_QUERY_LIMITED_INFORMATION, false, uint32(pid))
	if err != nil {
		return false
	}
	defer windows.CloseHandle(handle)
	var name [windows.MAX_LONG_PATH]uint16
	size := uint32(len(name))
	if windows.QueryFullProcessImageName(handle, 0, &name[0], &size) != nil {
		return false
	}
	base := filepath.Base(windows.UTF16ToString(name[:size]))
	return strings.HasPrefix(strings.ToLower(base), "qemu-system")
}

// processesWithUUID finds none for the same reason: an orphan is found by its control socket instead.
func processesWithUUID(string) []identity { return nil }

func worksIn(int, string) bool { return false }

// heldProcess is a process that cannot be mistaken for another: a handle means this one.
type heldProcess struct{ handle windows.Handle }

func holdProcess(id identity) (*heldProcess, error) {
	handle, err := windows.OpenProcess(processRights, false, uint32(id.PID))
	if errors.Is(err, windows.ERROR_INVALID_PARAMETER) {
		return nil, errNoProcess
	}
	if err != nil {
		return nil, fmt.Errorf("take hold of process %d: %w", id.PID, err)
	}
	if now, err := identityOf(handle, id.PID); err != nil || now != id {
		windows.CloseHandle(handle)
		return nil, errNoProcess
	}
	return &heldProcess{handle}, nil
}

func (p *heldProcess) kill() error { return windows.TerminateProcess(p.handle, 1) }

func (p *heldProcess) wait(ctx context.Context) error {
	for {
		event, err := windows.WaitForSingleObject(p.handle, 100)
		switch {
		case err != nil:
			return err
		case event == windows.WAIT_OBJECT_0:
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		}
	}
}

func (p *heldProcess) release() { windows.CloseHandle(p.handle) }

// detached makes a child that has no part in this console's Ctrl-C and closing.
func detached() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{CreationFlags: windows.CREATE_NEW_PROCESS_GROUP | windows.DETACHED_PROCESS}
}
