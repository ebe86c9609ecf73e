package cluster

import (
	"context"
	"fmt"
	"time"

	"github.com/dorykube/dory/internal/progress"
	"github.com/dorykube/dory/provision"
)

// clockTolerance is how much a machine's clock may differ: it is asked for in whole seconds.
const clockTolerance = 3 * time.Second

// clockSkew is how much the machine's clock is ahead of this computer's, if that is worth a word; it is negative after the
// machine stood still. What cannot be found out is no skew.
func clockSkew(ctx context.Context, client api) time.Duration {
	before := time.Now()
	there, err := client.Clock(ctx)
	if err != nil {
		return 0
	}
	if after := time.Now(); there.After(after) {
		before = after
	}
	if skew := there.Sub(before); skew.Abs() > clockTolerance {
		return skew.Round(time.Second)
	}
	return 0
}

func describeSkew(skew time.Duration) string {
	if skew < 0 {
		return fmt.Sprintf("the machine's clock is %v behind", -skew)
	}
	return fmt.Sprintf("the machine's clock is %v ahead", skew)
}

// borrowed reports whether a driver's machines are somebody's own, whose clocks are not dory's to set.
func (m *Manager) borrowed(driver string) bool {
	entry, err := m.parts.driver(driver)
	return err == nil && !entry.Capabilities.OwnsMachines
}

// ownClock is what is said of the clock of a machine that somebody has lent.
const ownClock = "it is left as it is, since the machine is yours: set it there"

// mendClock sets the clock of a machine that runs. What stands in the way is a warning: everything else is well.
func (m *Manager) mendClock(ctx context.Context, name string) {
	node, err := m.Login(ctx, name, "")
	if err != nil {
		warnOfClock(ctx, err)
		return
	}
	defer node.Close()
	setClock(ctx, node)
}

func setClock(ctx context.Context, node Node) { warnOfClock(ctx, provision.SetClock(ctx, node)) }

func warnOfClock(ctx context.Context, err error) {
	if err != nil && ctx.Err() == nil {
		progress.From(ctx).Warn("the machine's clock could not be set: " + err.Error())
	}
}
