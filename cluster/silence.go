package cluster

import (
	"context"
	"errors"
	"io/fs"
	"time"

	"github.com/dorykube/dory/drivers"
	"github.com/dorykube/dory/internal/fail"
)

// listenEvery is how often a console is read that nothing was written to yet. Some are read over a connection.
const listenEvery = time.Second

// awaitFirstWord returns a context that ends, with the reason as its cause, when the guest that was just booted has written nothing
// to its console for longer than any that comes up: some processor models hang a kernel before its first message, and nobody wants
// to wait for an SSH server then. A driver that keeps no console cannot tell.
func (s *start) awaitFirstWord(ctx context.Context) (context.Context, func()) {
	heard, cancel := context.WithCancelCause(ctx)
	limit := s.parts.firstWord(s.status.Accel)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		began := time.Now()
		tick := time.NewTicker(listenEvery)
		defer tick.Stop()
		for {
			text, err := s.console(heard)
			switch {
			case err == nil && drivers.SinceHeader(text) != "", err == nil && text == "":
				return // it speaks; or it is a machine without a console
			case err != nil && !errors.Is(err, fs.ErrNotExist):
				return
			case time.Since(began) > limit:
				cancel(silent(s.status, limit))
				return
			}
			select {
			case <-heard.Done():
				return
			case <-tick.C:
			}
		}
	}()
	return heard, func() {
		cancel(nil)
		<-ended // what it reads is changed from here on
	}
}

func silent(status drivers.Status, limit time.Duration) *fail.Error {
	return fail.New(fail.GuestSilent, "the guest has written nothing to its console for %v", limit).
		WithEvidence(join(status.Hypervisor, status.AccelReason))
}
