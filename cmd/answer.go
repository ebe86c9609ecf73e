package cmd

import (
	"errors"
	"io"
	"sync"
	"syscall"

	"github.com/dorykube/dory/internal/fail"
)

// answer is where a verb writes to. It keeps the error of a write that failed: not every writer in between passes it on, and a template
// takes it for its own.
type answer struct {
	to io.Writer

	mu     sync.Mutex
	failed error
}

func (a *answer) Write(text []byte) (int, error) {
	n, err := a.to.Write(text)
	if err != nil {
		a.mu.Lock()
		defer a.mu.Unlock()
		if a.failed == nil {
			a.failed = err
		}
	}
	return n, err
}

// err is what became of the answer, whatever else went wrong after that. Nobody is told that he does not listen any more.
func (a *answer) err() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.failed == nil || errors.Is(a.failed, syscall.EPIPE) {
		return nil
	}
	return fail.Wrap(fail.OutputFailed, a.failed, "write the answer")
}
