package qemu

import (
	"context"
	"strings"

	"github.com/dorykube/dory/drivers"
)

// Owned are the machines of a directory, and of those below it, that run although their own directory is gone: their QEMUs still work in
// it. Only Linux tells where a process works; elsewhere there are none. Of a machine, only what Delete needs is filled in.
func (d *Driver) Owned(_ context.Context, dir string) ([]drivers.Machine, error) {
	return homeless(dir), nil
}

// machineInArguments reads from a command line of this driver's which machine it runs.
func machineInArguments(args []string) (name, uuid string) {
	for i := 0; i+1 < len(args); i++ {
		switch args[i] {
		case "-name":
			guest, _ := strings.CutPrefix(args[i+1], "guest=")
			name, _, _ = strings.Cut(guest, ",")
		case "-uuid":
			uuid = args[i+1]
		}
	}
	return name, uuid
}
