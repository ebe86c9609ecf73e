// Command vuln looks for known vulnerabilities: in dory's own code, where only what is called counts, and in every Go program
// of the bundles that it is given, where the modules that are linked count, since stripped programs have no symbols. It fails
// for each that a newer version fixes, unless exceptions.txt says why it stays.
package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
)

const (
	tools          = "test/vuln/tools" // a module of its own: the scanner, and the version of the database for use without a network
	exceptionsFile = "test/vuln/exceptions.txt"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "vuln:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, bundles []string) error {
	text, err := os.ReadFile(exceptionsFile)
	if err != nil {
		return err
	}
	known, err := parseExceptions(string(text))
	if err != nil {
		return err
	}
	work, err := os.MkdirTemp("", "dory-vuln-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	database, err := findDatabase(ctx)
	if err != nil {
		return err
	}
	s := scanner{program: filepath.Join(work, "govulncheck"), database: database}
	if err := command(ctx, "go", "build", "-C", tools, "-o", s.program, "golang.org/x/vuln/cmd/govulncheck"); err != nil {
		return err
	}
	found, err := s.source(ctx)
	if err != nil {
		return fmt.Errorf("dory: %w", err)
	}
	r := report{out: os.Stdout, exceptions: known}
	r.add("dory", found)
	for i, path := range bundles {
		if err := s.bundle(ctx, path, filepath.Join(work, fmt.Sprint(i)), r.add); err != nil {
			return fmt.Errorf("%s: %w", filepath.Base(path), err)
		}
	}
	return r.verdict()
}

func command(ctx context.Context, name string, args ...string) error {
	c := exec.CommandContext(ctx, name, args...)
	c.Stdout, c.Stderr = os.Stderr, os.Stderr
	if err := c.Run(); err != nil {
		return fmt.Errorf("%s %s: %w", name, args[0], err)
	}
	return nil
}
