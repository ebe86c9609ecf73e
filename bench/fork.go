package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/dorykube/dory/internal/trace"
)

// fork starts a new cluster, alone on the computer, and then another one to see what its steps consist of.
func fork(ctx context.Context, b *bench, s *section) error {
	began := time.Now()
	steps, err := b.home.events(ctx, "start", "-p", "fork")
	if err != nil {
		return err
	}
	s.since(rowFork, began)
	names := map[string]bool{}
	for _, step := range steps {
		names[step.name] = true
		s.add("step "+step.name, "s", step.took.Seconds())
	}
	if _, err := b.home.dory(ctx, "delete", "-p", "fork"); err != nil {
		return err
	}
	if err := sleep(ctx, recovery); err != nil {
		return err
	}
	return forkParts(ctx, b, s, names)
}

// forkParts adds what the trace of a start has besides its steps.
func forkParts(ctx context.Context, b *bench, s *section, steps map[string]bool) error {
	file := filepath.Join(b.home.dir, "trace.json")
	defer os.Remove(file)
	if _, err := b.home.dory(ctx, "start", "-p", "traced", "--trace", file); err != nil {
		return err
	}
	text, err := os.Open(file)
	if err != nil {
		return err
	}
	defer text.Close()
	spans, err := trace.Read(text)
	if err != nil {
		return err
	}
	for _, span := range spans {
		if span.Process == "dory" && !steps[span.Name] {
			s.add("part "+span.Name, "s", span.Took.Seconds())
		}
	}
	_, err = b.home.dory(ctx, "delete", "-p", "traced")
	return err
}

const rowFork = "start: exec to exit, ready"

// forkPhases are the six phases on a fork. They begin at once: the fork's renewal goes on beside them, as for a user.
func forkPhases(ctx context.Context, b *bench, s *section) error {
	began := time.Now()
	if _, err := b.home.dory(ctx, "start", "-p", "phases"); err != nil {
		return err
	}
	took := time.Since(began)
	k, err := b.kubectlFor(ctx, b.home, "phases")
	if err != nil {
		return err
	}
	if err := k.phases(ctx, s, took); err != nil {
		return err
	}
	_, err = b.home.dory(ctx, "delete", "-p", "phases")
	return err
}

// timed is one command on the settled cluster.
func timed(row string, args ...string) func(context.Context, *bench, *section) error {
	return func(ctx context.Context, b *bench, s *section) error {
		began := time.Now()
		if _, err := b.home.dory(ctx, append(args, "-p", resting)...); err != nil {
			return err
		}
		s.since(row, began)
		return nil
	}
}

func status(ctx context.Context, b *bench, s *section) error {
	for _, args := range []string{"status", "profile list"} {
		if err := timed(args, strings.Fields(args)...)(ctx, b, s); err != nil {
			return err
		}
	}
	return nil
}

// stop and resume undo each other, and each is timed alone, because what comes after the other would be in its way.
func stop(ctx context.Context, b *bench, s *section) error {
	if err := timed("stop", "stop")(ctx, b, s); err != nil {
		return err
	}
	return b.again(ctx)
}

func resume(ctx context.Context, b *bench, s *section) error {
	if _, err := b.home.dory(ctx, "stop", "-p", resting); err != nil {
		return err
	}
	if err := timed("start: exec to exit, ready", "start")(ctx, b, s); err != nil {
		return err
	}
	return sleep(ctx, recovery)
}

// recovery is how long a machine that was resumed is left alone until it does what it did before.
const recovery = 5 * time.Second

func (b *bench) again(ctx context.Context) error {
	if _, err := b.home.dory(ctx, "start", "-p", resting); err != nil {
		return err
	}
	return sleep(ctx, recovery)
}

func powerOff(ctx context.Context, b *bench, s *section) error {
	if err := timed("stop --power-off", "stop", "--power-off")(ctx, b, s); err != nil {
		return err
	}
	if err := timed("start: boots from the same disk", "start")(ctx, b, s); err != nil {
		return err
	}
	return sleep(ctx, recovery)
}

// remove is a delete of a fork that runs.
func remove(ctx context.Context, b *bench, s *section) error {
	if _, err := b.home.dory(ctx, "start", "-p", "doomed"); err != nil {
		return err
	}
	began := time.Now()
	if _, err := b.home.dory(ctx, "delete", "-p", "doomed"); err != nil {
		return err
	}
	s.since("delete", began)
	return nil
}
