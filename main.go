// Dory puts a real Kubernetes cluster into a virtual machine on one's own computer.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/dorykube/dory/cmd"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // the first signal ends the work in order; a second one kills
	code := cmd.Run(ctx, os.Args, cmd.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr})
	os.Exit(code)
}
