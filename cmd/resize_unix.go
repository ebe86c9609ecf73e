//go:build unix

package cmd

import (
	"os"
	"syscall"
)

// resizeSignals tell that the terminal has another size.
var resizeSignals = []os.Signal{syscall.SIGWINCH}
