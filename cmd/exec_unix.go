//go:build unix

package cmd

import (
	"context"
	"fmt"
	"syscall"
)

// replace runs another program in place of this one, so that it has the terminal, the signals and the exit code.
func replace(_ context.Context, program string, args, env []string, _ Streams) error {
	passInherited()
	err := syscall.Exec(program, append([]string{"kubectl"}, args...), env)
	return fmt.Errorf("run %s: %w", program, err)
}
