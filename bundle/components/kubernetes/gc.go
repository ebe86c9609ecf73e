package main

import (
	"os"
	"runtime/debug"
	"time"
)

const (
	// A component that starts allocates far more than it keeps, and collects dozens of times on the way up: the API server
	// spends 43 % of its processor time until /readyz on that (2.2 s with Go's default of 100, 1.25 s with 800).
	startPercent = 800
	// After the start, what it left behind goes back to the node, and less piles up than with Go's default of 100: garbage is
	// what most of a fork's memory of its own is.
	startTakes = time.Minute
	thereafter = 50
)

// relaxCollector lets garbage pile up while the component starts. $GOGC, where it is set, stays the last word.
func relaxCollector() {
	if os.Getenv("GOGC") != "" {
		return
	}
	debug.SetGCPercent(startPercent)
	time.AfterFunc(startTakes, func() {
		debug.SetGCPercent(thereafter)
		debug.FreeOSMemory()
	})
}
