package qemu

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/dorykube/dory/drivers"
)

// A process is never told by its number alone: numbers are used again. A QEMU is a machine's if
//
//   - the machine's directory has its identity on record (number, time of its start, boot of the computer), and a
//     process of that identity runs, and its arguments contain the machine's UUID; or
//   - without such a record (dory was killed before it wrote one, or the file was damaged): it is a process of this
//     user whose arguments contain the machine's UUID and whose working directory is the machine's.
//
// Before a signal is sent, the process is held by a descriptor where there is such a thing (pidfd), and proved again.

// identity names a process for ever.
type identity struct {
	PID     int    `json:"pid"`
	Started string `json:"started"` // when, in the operating system's own words
	Boot    string `json:"boot"`    // of the computer; start times count from it
}

var errNoProcess = errors.New("there is no such process")

// findProcess returns the machine's QEMU, or errNoProcess.
func findProcess(m drivers.Machine) (identity, error) {
	var recorded identity
	if machineDir(m.Dir).readJSON(processFile, &recorded) == nil && proved(recorded, m.UUID) {
		return recorded, nil
	}
	for _, candidate := range processesWithUUID(m.UUID) {
		if worksIn(candidate.PID, m.Dir) {
			return candidate, nil
		}
	}
	return identity{}, errNoProcess
}

// proved reports whether the process of this identity runs, and runs the machine.
func proved(id identity, uuid string) bool {
	now, err := identify(id.PID)
	return err == nil && now == id && hasUUID(id.PID, uuid)
}

// uuidInArguments reports whether a command line is one that QEMU got from this driver for the machine.
func uuidInArguments(args []string, uuid string) bool {
	for i, arg := range args {
		if arg == "-uuid" && i+1 < len(args) && args[i+1] == uuid && uuid != "" {
			return true
		}
	}
	return false
}

// killProcess ends the process if it is still the machine's, and waits until it is gone.
func killProcess(ctx context.Context, id identity, uuid string) error {
	p, err := holdProcess(id)
	if errors.Is(err, errNoProcess) {
		return nil
	}
	if err != nil {
		return err
	}
	defer p.release()
	if !proved(id, uuid) {
		return nil
	}
	if err := p.kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	return p.wait(ctx)
}

// waitProcess waits until the process is gone.
func waitProcess(ctx context.Context, id identity) error {
	p, err := holdProcess(id)
	if errors.Is(err, errNoProcess) {
		return nil
	}
	if err != nil {
		return err
	}
	defer p.release()
	return p.wait(ctx)
}

// pollEvery is how often a process is looked at where its end cannot be waited for.
const pollEvery = 20 * time.Millisecond

// pollProcess waits by looking until the process is gone.
func pollProcess(ctx context.Context, id identity) error {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		if now, err := identify(id.PID); err != nil || now != id {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}
