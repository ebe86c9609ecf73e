package provision

import (
	"context"
	"errors"
	"time"

	"github.com/dorykube/dory/internal/fail"
)

// How long is waited for a cluster that comes up slowly, in parts of the limit: a limit is on standstill, not on work. On a computer
// that is busy with something else everything takes several times as long, and to begin anew would not be faster.
const (
	patience  = 3 // limits, at the longest, as long as something moves
	looks     = 6 // in each limit
	stillness = 2 // looks without a movement are a standstill
)

var errStandstill = errors.New("nothing has moved any more")

// patiently waits for something for as long as limit, and on as long as the cluster moves: pulse is a text that changes when it does, and
// empty where that cannot be found out.
func patiently(ctx context.Context, limit time.Duration, pulse func(context.Context) string, wait func(context.Context) error) error {
	inner, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	began := time.Now()
	go func() {
		tick := time.NewTicker(limit / looks)
		defer tick.Stop()
		last, still := "", 0
		for look := 1; ; look++ {
			select {
			case <-inner.Done():
				return
			case <-tick.C:
			}
			if look < looks-stillness {
				continue // it is early
			}
			soon, end := context.WithTimeout(inner, limit/looks)
			now := pulse(soon)
			end()
			if still++; now != "" && now != last && last != "" {
				still = 0
			}
			if now != "" {
				last = now
			}
			if look >= looks && still >= stillness || look >= patience*looks {
				cancel(errStandstill)
				return
			}
		}
	}()
	err := wait(inner)
	if err != nil && ctx.Err() == nil {
		return fail.Wrap(fail.ControlPlaneWait, err, "the cluster was not ready within %s", time.Since(began).Round(time.Second))
	}
	return err
}
