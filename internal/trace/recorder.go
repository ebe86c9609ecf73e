package trace

import (
	"slices"
	"sync"
	"time"

	"github.com/dorykube/dory/internal/progress"
)

// Recorder keeps the steps of which its Reporter is told. It is safe for concurrent use.
type Recorder struct {
	progress.Reporter
	Process string

	mu    sync.Mutex
	spans []Span
}

// StepDone keeps the step.
func (r *Recorder) StepDone(s progress.Step, took time.Duration, result string, err error) {
	if err != nil {
		result = err.Error()
	}
	r.mu.Lock()
	r.spans = append(r.spans, Span{Process: r.Process, Name: s.Name, Begin: time.Now().Add(-took), Took: took, Result: result})
	r.mu.Unlock()
	r.Reporter.StepDone(s, took, result, err)
}

// PartDone keeps a part of a step.
func (r *Recorder) PartDone(name string, took time.Duration) {
	r.mu.Lock()
	r.spans = append(r.spans, Span{Process: r.Process, Name: name, Begin: time.Now().Add(-took), Took: took})
	r.mu.Unlock()
	r.Reporter.PartDone(name, took)
}

// Spans are the steps that have ended, and their parts.
func (r *Recorder) Spans() []Span {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.spans)
}
