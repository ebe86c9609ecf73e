package qemu

import (
	"io"
	"os"
	"strings"
	"time"

	"github.com/dorykube/dory/drivers"
)

// largestConsole is the size above which the console's log is put aside at the next start.
const largestConsole = 1 << 20

// openConsole writes a header for what the machine does next ("boots"), and makes the file 0600 before QEMU, which would ask the umask.
func (dir machineDir) openConsole(m drivers.Machine, does string, chosen choice, now time.Time) error {
	path := dir.path(consoleFile)
	if info, err := os.Stat(path); err == nil && info.Size() > largestConsole {
		if err := os.Rename(path, dir.path(consoleOld)); err != nil {
			return err
		}
	}
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	_, err = io.WriteString(file, drivers.ConsoleHeader(m, does, chosen.Reason, now))
	if closeErr := file.Close(); err == nil {
		err = closeErr
	}
	return err
}

// poweredOff reports whether the last that the guest said was that it powers off.
func (dir machineDir) poweredOff() bool {
	file, err := os.Open(dir.path(consoleFile))
	if err != nil {
		return false
	}
	defer file.Close()
	const enough = 512
	if info, err := file.Stat(); err == nil && info.Size() > enough {
		file.Seek(-enough, io.SeekEnd)
	}
	end, _ := io.ReadAll(file)
	return strings.Contains(string(end), "reboot: Power down")
}
