package cluster

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"github.com/dorykube/dory/internal/fail"
	"github.com/dorykube/dory/provision"
)

// A node has come to rest when it uses little of its processors for a while, or no less than the while before: what it still
// had to do would be done by every fork again. Probes and leases come in bursts, so single looks say little: an idle control
// plane takes from a sixth to two thirds of two emulated processors, a third on average.
const (
	settleLook  = 2 * time.Second
	settleQuiet = 0.20 // of all processors, on average
	settleLooks = 4    // a while
	settleFall  = 0.90 // what is above this much of before has not fallen
	settleLimit = 40 * time.Second
)

func settle(ctx context.Context, node Node) (string, error) {
	var looks []float64
	before, err := processorTimes(ctx, node)
	for began := time.Now(); err == nil && !atRest(looks) && time.Since(began) < settleLimit; {
		select {
		case <-ctx.Done():
			return "", ctx.Err()
		case <-time.After(settleLook):
		}
		var now [2]float64
		if now, err = processorTimes(ctx, node); err == nil {
			looks = append(looks, (now[0]-before[0])/max(now[1]-before[1], 1))
			before = now
		}
	}
	if err != nil {
		return "", fail.Wrap(fail.GuestCommand, err, "look at the node's processors")
	}
	return fmt.Sprintf("%.0f %% busy", 100*mean(looks[max(0, len(looks)-settleLooks):])), nil
}

// atRest judges by how busy the processors were at each look.
func atRest(looks []float64) bool {
	if len(looks) < settleLooks {
		return false
	}
	last := mean(looks[len(looks)-settleLooks:])
	if last <= settleQuiet {
		return true
	}
	return len(looks) >= 2*settleLooks && last >= settleFall*mean(looks[len(looks)-2*settleLooks:len(looks)-settleLooks])
}

func mean(values []float64) (mean float64) {
	for _, v := range values {
		mean += v / float64(len(values))
	}
	return mean
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
