package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// ticks is how many of the kernel's clock ticks a second of processor time has: USER_HZ, 100 on every platform of Linux.
const ticks = 100

// lookFor is how long the processors are looked at before each repetition.
const lookFor = 2 * time.Second

// othersUse is how many processors were busy for lookFor with something else than these machines.
func othersUse(ctx context.Context, own []int) (float64, error) {
	busyBefore, err := busyTime()
	if err != nil {
		return 0, err
	}
	ownBefore := processorTime(own)
	if err := sleep(ctx, lookFor); err != nil {
		return 0, err
	}
	busy, err := busyTime()
	if err != nil {
		return 0, err
	}
	return max(0, (busy-busyBefore-processorTime(own)+ownBefore)/lookFor.Seconds()), nil
}

// busyTime is how many seconds of processor time all processors together have been busy since the computer's boot; stolen
// time too: it is a neighbour's.
func busyTime() (float64, error) {
	content, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, err
	}
	return parseBusy(string(content))
}

// parseBusy reads the first line of /proc/stat: "cpu", and ticks of user, nice, system, idle, iowait, irq, softirq and steal
// (proc(5)); what follows is part of user and nice.
func parseBusy(stat string) (float64, error) {
	line, _, _ := strings.Cut(stat, "\n")
	fields := strings.Fields(line)
	if len(fields) < 9 || fields[0] != "cpu" {
		return 0, fmt.Errorf("/proc/stat begins with %q", line)
	}
	var sum float64
	for i, text := range fields[1:9] {
		n, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return 0, fmt.Errorf("/proc/stat: %w", err)
		}
		if i != 3 && i != 4 { // idle, iowait
			sum += n
		}
	}
	return sum / ticks, nil
}

// processorTime is how many seconds of processor time the processes have used; those that have ended count nothing.
func processorTime(pids []int) (sum float64) {
	for _, pid := range pids {
		content, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err == nil {
			sum += parseProcess(string(content))
		}
	}
	return sum
}

// parseProcess reads /proc/PID/stat (proc(5)): after the name in parentheses, fields 14 and 15 of the whole are user and
// system time.
func parseProcess(stat string) (sum float64) {
	fields := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
	if len(fields) < 13 {
		return 0
	}
	for _, text := range fields[11:13] {
		n, _ := strconv.ParseFloat(text, 64)
		sum += n / ticks
	}
	return sum
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
