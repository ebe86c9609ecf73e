// Package progress is how long work tells a person or a script what it is doing. Producers call a Reporter; what becomes
// of it (an animation, plain lines, JSON events) is decided by the command line.
package progress

import (
	"context"
	"time"
)

// Reporter is told what happens. It is safe for concurrent use.
type Reporter interface {
	// StepStarted and StepDone frame a step. Steps may overlap; a step's name is unique within one command.
	StepStarted(s Step)
	// StepDone carries what came of it: a few words such as "Kubernetes v1.37.2", or the error that ended it.
	StepDone(s Step, took time.Duration, result string, err error)
	// PartDone tells of a part of a step that is not worth a line, but worth knowing in a trace.
	PartDone(name string, took time.Duration)
	// Moved says how far a transfer of a step has come, as often as it likes; a step may have several, one after another.
	Moved(s Step, t Transfer)
	Info(message string)
	Warn(message string)
}

// Step is one piece of work that is worth a line.
type Step struct {
	Name  string // stable identifier for scripts: "boot", "control-plane"
	Title string // for people: "Booting the machine"
}

type (
	key     struct{}
	stepKey struct{}
)

// With returns a context that carries r.
func With(ctx context.Context, r Reporter) context.Context { return context.WithValue(ctx, key{}, r) }

// From returns the reporter of the context, or one that is silent.
func From(ctx context.Context) Reporter {
	if r, ok := ctx.Value(key{}).(Reporter); ok {
		return r
	}
	return silent{}
}

// Do runs f as a step, to which the context that f is given belongs.
func Do(ctx context.Context, s Step, f func(context.Context) (result string, err error)) error {
	r := From(ctx)
	r.StepStarted(s)
	began := time.Now()
	result, err := f(context.WithValue(ctx, stepKey{}, s))
	r.StepDone(s, time.Since(began), result, err)
	return err
}

// Part begins a part of a step, and returns what ends it: see Reporter.PartDone.
func Part(ctx context.Context, name string) (end func()) {
	began := time.Now()
	return func() { From(ctx).PartDone(name, time.Since(began)) }
}

type silent struct{}

func (silent) StepStarted(Step)                            {}
func (silent) StepDone(Step, time.Duration, string, error) {}
func (silent) PartDone(string, time.Duration)              {}
func (silent) Moved(Step, Transfer)                        {}
func (silent) Info(string)                                 {}
func (silent) Warn(string)                                 {}
