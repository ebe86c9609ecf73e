package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"
)

// four starts four clusters at the same time.
func four(ctx context.Context, b *bench, s *section) error {
	const clusters = 4
	errs := make([]error, clusters)
	began := time.Now()
	var all sync.WaitGroup
	for i := range clusters {
		all.Go(func() {
			_, errs[i] = b.home.dory(ctx, "start", "-p", "at-once-"+strconv.Itoa(i))
		})
	}
	all.Wait()
	s.since("until the last of four is ready", began)
	return errors.Join(append(errs, b.clear(ctx))...)
}

// density starts ten clusters, lets them come to rest, and looks at what each takes.
func density(ctx context.Context, b *bench, s *section) error {
	const clusters = 10
	began := time.Now()
	for i := range clusters {
		if _, err := b.home.dory(ctx, "start", "-p", "dense-"+strconv.Itoa(i)); err != nil {
			return err
		}
	}
	s.since("ten starts, one after the other", began)
	if err := sleep(ctx, 2*settleTime); err != nil { // they share the processors, so it takes them longer
		return err
	}
	pids := b.machines()
	if len(pids) != clusters {
		return fmt.Errorf("%d machines run, not %d", len(pids), clusters)
	}
	for _, pid := range pids {
		added, err := memoryOf(fmt.Sprintf("/proc/%d/smaps_rollup", pid), "Pss")
		if err != nil {
			return err
		}
		s.add("memory that each of ten forks adds (Pss)", "MiB", added)
	}
	if err := processorUse(ctx, s, "processor that each of ten idle forks takes", pids); err != nil {
		return err
	}
	return b.clear(ctx)
}

// idleLook is how long idle machines are looked at: several rounds of their components' timers.
const idleLook = 20 * time.Second

// processorUse adds what each of the machines takes of a processor, which nobody uses.
func processorUse(ctx context.Context, s *section, row string, pids []int) error {
	before := make([]float64, len(pids))
	for i, pid := range pids {
		before[i] = processorTime([]int{pid})
	}
	if err := sleep(ctx, idleLook); err != nil {
		return err
	}
	for i, pid := range pids {
		s.add(row, "%", 100*(processorTime([]int{pid})-before[i])/idleLook.Seconds())
	}
	return nil
}

// idle looks at the settled fork.
func idle(ctx context.Context, b *bench, s *section) error {
	return processorUse(ctx, s, "processor of one idle fork", b.machines())
}

// memory is what the settled fork's guest has in use, and what that is on this computer.
func memory(ctx context.Context, b *bench, s *section) error {
	out, err := b.home.dory(ctx, "-p", resting, "ssh", "--", "free -m")
	if err != nil {
		return err
	}
	for line := range strings.Lines(out) {
		if fields := strings.Fields(line); len(fields) > 2 && fields[0] == "Mem:" {
			used, err := strconv.ParseFloat(fields[2], 64)
			if err != nil {
				return err
			}
			s.add("in use in the guest", "MiB", used)
		}
	}
	pids := b.machines()
	for _, pid := range pids {
		added, err := memoryOf(fmt.Sprintf("/proc/%d/smaps_rollup", pid), "Pss")
		if err != nil {
			return err
		}
		s.add("that it adds to this computer's (Pss)", "MiB", added)
	}
	return resident(s, pids)
}

const rowResident = "QEMU resident"

// resident adds the machines' memory on this computer, pages included that they share with others.
func resident(s *section, pids []int) error {
	for _, pid := range pids {
		size, err := memoryOf(fmt.Sprintf("/proc/%d/status", pid), "VmRSS")
		if err != nil {
			return err
		}
		s.add(rowResident, "MiB", size)
	}
	return nil
}

// memoryOf reads a line "name: N kB" of a file and returns MiB.
func memoryOf(path, name string) (float64, error) {
	text, err := field(path, name)
	if err != nil {
		return 0, err
	}
	number, unit, _ := strings.Cut(text, " ")
	kib, err := strconv.ParseFloat(number, 64)
	if err != nil || strings.TrimSpace(unit) != "kB" {
		return 0, fmt.Errorf("%s: %s is %q", path, name, text)
	}
	return kib / 1024, nil
}
