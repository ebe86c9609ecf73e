package provision

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dorykube/dory/internal/fail"
)

// What moves is waited for, up to a multiple of the limit; what stands still is not, nor what nobody can look at.
func TestPatience(t *testing.T) {
	const limit = 6 * time.Minute
	for name, c := range map[string]struct {
		moves time.Duration // until when; negative: nothing can be found out
		ready time.Duration // 0: never
		want  time.Duration // when the wait ends
	}{
		"in time":                      {0, 5 * time.Minute, 5 * time.Minute},
		"it stands still":              {0, 0, limit},
		"nobody can tell":              {-1, 0, limit},
		"it moves for a while":         {8 * time.Minute, 0, 10 * time.Minute},
		"it moves, and is ready":       {time.Hour, 15 * time.Minute, 15 * time.Minute},
		"it moves and is never ready":  {time.Hour, 0, patience * limit},
		"it moved before, and no more": {3 * time.Minute, 0, limit},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				err := patiently(t.Context(), limit, func(context.Context) string {
					if c.moves < 0 {
						return ""
					}
					return fmt.Sprint(min(time.Since(began), c.moves))
				}, func(ctx context.Context) error {
					if c.ready == 0 {
						<-ctx.Done()
						return ctx.Err()
					}
					select {
					case <-ctx.Done():
						return ctx.Err()
					case <-time.After(c.ready):
						return nil
					}
				})
				if took := time.Since(began).Round(time.Minute); took != c.want || (err == nil) != (c.ready > 0) || err != nil && !fail.Is(err, fail.ControlPlaneWait) {
					t.Errorf("it ended after %v instead of %v: %v", took, c.want, err)
				}
			})
		})
	}
	t.Run("interrupted", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		err := patiently(ctx, limit, func(context.Context) string { return "" }, func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })
		if !errors.Is(err, context.Canceled) || fail.Is(err, fail.ControlPlaneWait) {
			t.Error(err)
		}
	})
}
