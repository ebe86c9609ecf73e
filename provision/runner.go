// Package provision turns a machine into a node. It knows nothing of VMs: it is given something that can run a command
// and put a file over there, and the address of the API server that will be.
//
// What goes onto the node are real files (rootfs/, embedded), some of them templates; everything that is secret is made
// on this side (package pki) and sent along in the same stream. On the node systemd runs everything: what this package
// does is put the files, start the units in the right order and tell each one's story when it fails.
package provision

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"strings"
)

// Runner is a machine that commands can be run on. Implementations are safe for concurrent use.
type Runner interface {
	// Run runs a command to its end. If it exits non-zero, the error is an *ExitError.
	Run(ctx context.Context, c Cmd) error
	// Put writes a file, replacing what is there atomically. Its directory must exist.
	Put(ctx context.Context, path string, mode fs.FileMode, content io.Reader) error
}

// Cmd is a command for a machine.
type Cmd struct {
	Shell  string    // run by the login shell, /bin/sh
	Stdin  io.Reader // nil: empty
	Stdout io.Writer // nil: discarded
	Stderr io.Writer // nil: only kept for the error
	TTY    *TTY      // run on a terminal; nil: none
}

// TTY is the terminal that a command runs on.
type TTY struct {
	Term          string // value of $TERM
	Width, Height int    // in characters
	Resize        <-chan [2]int
}

// ExitError is a command that ran and exited non-zero.
type ExitError struct {
	Shell  string
	Code   int
	Signal string // name without SIG, if a signal ended it
	Stderr string // all of it, unless Cmd.Stderr took it
}

func (e *ExitError) Error() string {
	how := fmt.Sprintf("exited with %d", e.Code)
	if e.Signal != "" {
		how = "was ended by signal " + e.Signal
	}
	first, _, _ := strings.Cut(e.Shell, "\n")
	msg := fmt.Sprintf("%q %s", first, how)
	if text := strings.TrimSpace(e.Stderr); text != "" {
		msg += ": " + text
	}
	return msg
}
