package cluster

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"github.com/dorykube/dory/internal/fail"
	"github.com/dorykube/dory/provision"
)

// A node has come to rest when it uses little of its processors for a while: what it still had to do would be done by
// every fork again. A slow node gets there late; its forks are no worse for a limit.
const (
	settleLook  = 2 * time.Second
	settleQuiet = 0.30 // of all processors; an idle control plane takes a quarter of two emulated ones
	settleLooks = 3
	settleLimit = 40 * time.Second
)

func settle(ctx context.Context, node Node) (string, error) {
	began, quiet, busy := time.Now(), 0, 1.0
	before, err := processorTimes(ctx, node)
	for err == nil && quiet < settleLooks && time.Since(began) < settleLimit {
		select {
		case <-ctx.Done():
			return "", ctx.Err()
		case <-time.After(settleLook):
		}
		var now [2]float64
		if now, err = processorTimes(ctx, node); err != nil {
			break
		}
		busy = (now[0] - before[0]) / max(now[1]-before[1], 1)
		before = now
		quiet++
		if busy > settleQuiet {
			quiet = 0
		}
	}
	if err != nil {
		return "", fail.Wrap(fail.GuestCommand, err, "look at the node's processors")
	}
	return fmt.Sprintf("%.0f %% busy", 100*busy), nil
}

// processorTimes reads how long the processors have been busy, and both busy and idle, in ticks.
func processorTimes(ctx context.Context, node Node) (times [2]float64, err error) {
	var out bytes.Buffer
	if err := node.Run(ctx, provision.Cmd{Shell: "read line </proc/stat; echo $line", Stdout: &out}); err != nil {
		return times, err
	}
	// proc(5): user nice system idle iowait irq softirq steal, then guest times that are part of user.
	var t [8]float64
	var name string
	_, err = fmt.Sscan(out.String(), &name, &t[0], &t[1], &t[2], &t[3], &t[4], &t[5], &t[6], &t[7])
	for i, ticks := range t {
		times[1] += ticks
		if i != 3 && i != 4 {
			times[0] += ticks
		}
	}
	return times, err
}
