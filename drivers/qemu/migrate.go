package qemu

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/dorykube/dory/drivers"
	"github.com/dorykube/dory/internal/progress"
)

// migrationFile is the name under which QEMU is given its end of the pipe.
const migrationFile = "migration"

// loadError is a snapshot that QEMU does not load.
type loadError struct{ err error }

func (e *loadError) Error() string { return "QEMU does not load it: " + e.err.Error() }

func (e *loadError) Unwrap() error { return e.err }

// migration is what QEMU says of a migration.
type migration struct {
	Status string `json:"status"`
	Reason string `json:"error-desc"`
}

// ended reports whether QEMU is done with it.
func (m migration) ended() bool {
	return slices.Contains([]string{"", "none", "completed", "failed", "cancelled"}, m.Status)
}

// prepareMigration: pages may be missing in the stream, and QEMU tells when it is done.
func (q *monitor) prepareMigration(ctx context.Context) error {
	type capability struct {
		Capability string `json:"capability"`
		State      bool   `json:"state"`
	}
	return q.run(ctx, "migrate-set-capabilities", map[string]any{
		"capabilities": []capability{{"x-ignore-shared", true}, {"events", true}},
	}, nil)
}

// awaitMigration waits until a migration is done.
func (q *monitor) awaitMigration(ctx context.Context) error {
	var m migration
	_, err := q.await(ctx, func(e event) bool {
		return e.Name == "MIGRATION" && json.Unmarshal(e.Data, &m) == nil && m.ended()
	})
	if err != nil || m.Status == "completed" {
		return err
	}
	q.run(ctx, "query-migrate", nil, &m) // the reason, if it has one
	return fmt.Errorf("QEMU says that its migration %s %s", m.Status, m.Reason)
}

// writeOut halts a machine and reads its whole state: pages of the main memory that are not in a file go to page, and then
// the rest to rest. A failure, of these too, lets the machine go on.
func (d *Driver) writeOut(ctx context.Context, m drivers.Machine, page func(int64, []byte) error, rest func([]byte) error) (err error) {
	q, err := dialMonitor(ctx, machineDir(m.Dir))
	if err != nil {
		return err
	}
	defer func() {
		q.close()
		if err != nil {
			if goErr := d.goOn(ctx, m); goErr != nil {
				err = errors.Join(err, fmt.Errorf("let the machine go on: %w", goErr))
			}
		}
	}()
	if err := q.run(ctx, "stop", nil, nil); err != nil {
		return err
	}
	// Nothing to do, unless the machine is ephemeral. Now, since some file systems write out everything that was written
	// before as well, which would soon be the memory.
	if err := syncFile(machineDir(m.Dir).disk()); err != nil {
		return err
	}
	if err := q.prepareMigration(ctx); err != nil {
		return err
	}
	// By default, 128 MiB/s, for the sake of a network.
	if err := q.run(ctx, "migrate-set-parameters", map[string]any{"max-bandwidth": int64(1) << 40}, nil); err != nil {
		return err
	}
	state, err := q.migrateTo(ctx, m, page)
	if err != nil {
		return err
	}
	return rest(state)
}

// migrateTo has QEMU write its state into a pipe and takes it apart.
func (q *monitor) migrateTo(ctx context.Context, m drivers.Machine, page func(int64, []byte) error) ([]byte, error) {
	ours, theirs, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer ours.Close()
	widen(theirs)
	err = q.giveFile(ctx, migrationFile, theirs)
	theirs.Close()
	if err != nil {
		return nil, err
	}
	type result struct {
		state []byte
		err   error
	}
	split := make(chan result, 1)
	go func() {
		state, err := splitStream(ours, m.Memory, page)
		if err != nil {
			ours.Close() // QEMU's next write ends the migration
		}
		split <- result{state, err}
	}()
	err = q.run(ctx, "migrate", map[string]string{"uri": "fd:" + migrationFile}, nil)
	if err == nil {
		err = q.awaitMigration(ctx)
	}
	if err != nil {
		ours.Close()
		cause := <-split
		if ctx.Err() == nil && cause.err != nil && !errors.Is(cause.err, os.ErrClosed) {
			return nil, cause.err // which is why QEMU failed
		}
		return nil, err
	}
	all := <-split
	return all.state, all.err
}

// goOn lets a machine go on that was halted, whatever halted it.
func (d *Driver) goOn(ctx context.Context, m drivers.Machine) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), commandLimit)
	defer cancel()
	q, err := dialMonitor(ctx, machineDir(m.Dir))
	if err != nil {
		return err
	}
	defer q.close()
	return q.goOn(ctx)
}

// goOn ends a migration that somebody has left, and then lets the guest execute.
func (q *monitor) goOn(ctx context.Context) error {
	for cancelled := false; ; time.Sleep(pollEvery) {
		var m migration
		if err := q.run(ctx, "query-migrate", nil, &m); err != nil {
			return err
		}
		if m.ended() {
			return q.run(ctx, "cont", nil, nil)
		}
		if !cancelled {
			cancelled = true
			if err := q.run(ctx, "migrate_cancel", nil, nil); err != nil {
				return err
			}
		}
	}
}

// load has a QEMU that was started with -incoming load the devices' state, and the guest go on.
func (s *snapshot) load(ctx context.Context, dir machineDir) error {
	begins := progress.Part(ctx, "QEMU begins")
	q, err := dialMonitor(ctx, dir)
	begins()
	if err != nil {
		return err
	}
	defer q.close()
	defer progress.Part(ctx, "QEMU loads")()
	theirs, ours, err := os.Pipe()
	if err != nil {
		return err
	}
	if err = q.prepareMigration(ctx); err == nil {
		err = q.giveFile(ctx, migrationFile, theirs)
	}
	theirs.Close()
	if err != nil {
		ours.Close()
		return err
	}
	written := make(chan struct{})
	go func() {
		ours.Write(s.state) // if QEMU does not read it all, it says why
		ours.Close()
		close(written)
	}()
	defer func() { ours.Close(); <-written }()
	err = q.run(ctx, "migrate-incoming", map[string]string{"uri": "fd:" + migrationFile}, nil)
	if err == nil {
		err = q.awaitMigration(ctx)
	}
	if err != nil {
		return &loadError{err}
	}
	if s.begin != nil {
		if err := s.begin(); err != nil {
			return err
		}
	}
	return q.run(ctx, "cont", nil, nil)
}
