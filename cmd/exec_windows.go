package cmd

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
)

// replace runs another program and passes its exit code on: Windows cannot put one in place of another.
func replace(ctx context.Context, program string, args, env []string, s Streams) error {
	c := exec.CommandContext(ctx, program, args...)
	c.Env, c.Stdin, c.Stdout, c.Stderr = env, s.In, s.Out, s.Err
	err := c.Run()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		return exitCode(exit.ExitCode())
	}
	if err != nil {
		return fmt.Errorf("run %s: %w", program, err)
	}
	return nil
}
