// Package fail is the shape of every failure that a user sees: what happened, the last evidence, what to do, an
// identifier and an exit code. The kinds of failure are a table (catalogue.go), not strings spread about.
package fail

import (
	"context"
	"errors"
	"fmt"
)

// Kind is one row of the catalogue.
type Kind struct {
	ID     string // "DRV_QEMU_MISSING": stable, for scripts and for docs/errors.md
	Exit   int    // exit code: tens by origin, ones by kind; see docs/errors.md
	Title  string // what it means, for docs/errors.md
	Advice string // what to do: a command to type, where there is one
}

// Error is a failure of a kind. Its message reads like any wrapped Go error: lower case, verb phrase first.
type Error struct {
	Kind     Kind
	Message  string
	Evidence string // the last log lines or stderr; may have several lines
	Advice   string // in place of the kind's, where more is known
	Err      error  // cause; may be nil
}

// New returns a failure of kind k.
func New(k Kind, format string, args ...any) *Error {
	return &Error{Kind: k, Message: fmt.Sprintf(format, args...)}
}

// Wrap returns a failure of kind k caused by err. The message does not repeat the cause; Error does.
func Wrap(k Kind, err error, format string, args ...any) *Error {
	return &Error{Kind: k, Message: fmt.Sprintf(format, args...), Err: err}
}

// WithEvidence returns e with evidence set.
func (e *Error) WithEvidence(evidence string) *Error { e.Evidence = evidence; return e }

// WithAdvice returns e with advice in place of its kind's.
func (e *Error) WithAdvice(format string, args ...any) *Error {
	e.Advice = fmt.Sprintf(format, args...)
	return e
}

func (e *Error) Error() string {
	if e.Err == nil {
		return e.Message
	}
	return e.Message + ": " + e.Err.Error()
}

func (e *Error) Unwrap() error { return e.Err }

// Remedy is the advice to print.
func (e *Error) Remedy() string {
	if e.Advice != "" {
		return e.Advice
	}
	return e.Kind.Advice
}

// As returns err as a failure: itself if it wraps one, otherwise an Interrupted or a General one.
func As(err error) *Error {
	var e *Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &e):
		if e.Error() == err.Error() {
			return e
		}
		outer := *e // keep the words that were wrapped around it
		outer.Message, outer.Err = err.Error(), nil
		return &outer
	case errors.Is(err, context.Canceled):
		return Wrap(Interrupted, err, "interrupted")
	default:
		return &Error{Kind: General, Message: err.Error()}
	}
}

// Is reports whether err is a failure of kind k.
func Is(err error, k Kind) bool {
	var e *Error
	return errors.As(err, &e) && e.Kind.ID == k.ID
}
