// Command bench times everything that a user of dory waits for, on real VMs, beside a cluster that kubeadm makes on the same
// VM; and makes tables and plots of it.
//
//	go run ./bench [-runs 5] [-json FILE] [scenario ...]   measure; FILE gets the scenarios that were run, and keeps its others
//	go run ./bench -docs FILE                              docs/benchmarks.md, its plots and README's table, out of FILE
//	go run ./bench -compare A.json B.json                  where two runs differ by more than 15 %
//	go run ./bench -list                                   the scenarios
//
// It is run in dory's source tree and needs bin/dory and the artifacts; 'make bench' sees to both.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	runs := flags.Int("runs", 5, "how often each scenario is repeated")
	file := flags.String("json", "", "file for the figures; scenarios in it that are not run stay")
	docs := flags.String("docs", "", "make the documentation out of this file, and measure nothing")
	compare := flags.Bool("compare", false, "compare two files, and measure nothing")
	list := flags.Bool("list", false, "list the scenarios")
	if err := flags.Parse(args); err != nil {
		return err
	}
	switch {
	case *list:
		return listScenarios(os.Stdout)
	case *docs != "":
		return writeDocs(*docs)
	case *compare && flags.NArg() == 2:
		return compareFiles(os.Stdout, flags.Arg(0), flags.Arg(1))
	case *compare:
		return errors.New("-compare wants two files")
	}
	return measure(ctx, *runs, *file, flags.Args())
}
