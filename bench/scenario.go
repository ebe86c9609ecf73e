package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"time"
)

// scenario is something that is timed: one call of once adds one value to each of its rows.
type scenario struct {
	name, about string
	needs       need
	// warm is done before the first repetition and counts nothing; nil: one repetition whose figures are thrown away.
	warm func(context.Context, *bench) error
	once func(context.Context, *bench, *section) error
	// static: nothing in it depends on what else the computer does.
	static bool
	// atMost bounds the repetitions of what has enough values after fewer; 0: as many as are asked for.
	atMost int
}

// need is what there must be before a scenario begins.
type need int

const (
	nothing   need = iota // no machine of ours
	templated             // a template of the default configuration, and no machine
	settled               // a fork of it that has come to rest, and no other machine
)

// scenarios in the order in which they are run and shown.
var scenarios = []scenario{
	{name: "sizes", about: "what is built once and shipped", warm: noWarmUp, once: sizes, static: true, atMost: 1},
	{name: "kubeadm", about: "baseline: kubeadm init on the same VM", warm: readBaseline, once: kubeadmInit},
	{name: "cold", about: "a cluster without a template, from the first boot on", warm: readArtifacts, once: cold},
	{name: "server", about: "the same by driver ssh, on a machine that is up and has the bundle", warm: readArtifacts, once: server},
	{name: "template", about: "the first start of a configuration makes its template, and forks it", warm: readArtifacts, once: makeTemplate},
	{name: "fork", about: "start of a new cluster, once there is a template", needs: templated, once: fork},
	{name: "phases", about: "minikube's six phases on a fork, one after the other", needs: templated, once: forkPhases},
	{name: "no-op", about: "start with nothing to do", needs: settled, once: timed("start", "start")},
	{name: "status", about: "what a prompt or a script asks", needs: settled, once: status},
	{name: "idle", about: "processor that a fork takes which nobody uses", needs: settled, warm: noWarmUp, once: idle},
	{name: "memory", about: "memory of one fork at rest", needs: settled, warm: noWarmUp, once: memory},
	{name: "stop", about: "saves the machine and frees its memory", needs: settled, once: stop},
	{name: "resume", about: "start of a cluster that was stopped", needs: settled, once: resume},
	{name: "power-off", about: "stop --power-off, and a boot from the same disk", needs: settled, warm: noWarmUp, once: powerOff},
	{name: "delete", about: "every trace of a running cluster", needs: templated, once: remove},
	{name: "four", about: "four new clusters at once", needs: templated, once: four},
	{name: "density", about: "ten forks side by side, at rest: a value for each", needs: templated, warm: noWarmUp, once: density, atMost: 1},
}

func scenarioIndex(name string) int {
	return slices.IndexFunc(scenarios, func(s scenario) bool { return s.name == name })
}

func listScenarios(w io.Writer) error {
	for _, s := range scenarios {
		if _, err := fmt.Fprintf(w, "%-10s %s\n", s.name, s.about); err != nil {
			return err
		}
	}
	return nil
}

// measure runs the named scenarios, all if there are no names, and writes the file after each. One that fails is left out, and is
// the error in the end.
func measure(ctx context.Context, runs int, file string, names []string) error {
	if runs < 1 {
		return errors.New("-runs must be at least 1")
	}
	for _, name := range names {
		if scenarioIndex(name) < 0 {
			return fmt.Errorf("there is no scenario %q; -list shows them", name)
		}
	}
	h, err := describeHost(ctx)
	if err != nil {
		return err
	}
	all, err := openResults(file, h)
	if err != nil {
		return err
	}
	b := &bench{}
	defer b.remove(context.WithoutCancel(ctx))
	now := &results{Host: h}
	var failed []error
	for _, s := range scenarios {
		if len(names) > 0 && !slices.Contains(names, s.name) {
			continue
		}
		section, err := s.run(ctx, b, runs)
		if err != nil {
			err = fmt.Errorf("%s: %w", s.name, err)
			if failed = append(failed, err); ctx.Err() != nil {
				break
			}
			fmt.Fprintln(os.Stderr, "bench:", err) // the others still mean something
			b.resting = false
			continue
		}
		now.replace(section)
		all.replace(section)
		if err := all.write(file); err != nil {
			return err
		}
	}
	now.print(os.Stdout)
	return errors.Join(failed...)
}

// run warms up, repeats, and looks before each repetition whether somebody else uses the processors.
func (s scenario) run(ctx context.Context, b *bench, runs int) (*section, error) {
	if s.atMost > 0 {
		runs = min(runs, s.atMost)
	}
	began := time.Now()
	if err := b.prepare(ctx, s.needs); err != nil {
		return nil, fmt.Errorf("prepare: %w", err)
	}
	warm := s.warm
	if warm == nil {
		warm = func(ctx context.Context, b *bench) error { return s.once(ctx, b, &section{}) }
	}
	if err := warm(ctx, b); err != nil {
		return nil, fmt.Errorf("warm up: %w", err)
	}
	result := &section{Scenario: s.name, Began: began.UTC().Truncate(time.Second), Dory: doryVersion(), Runs: runs}
	for n := range runs {
		if !s.static {
			others, err := othersUse(ctx, b.machines())
			if err != nil {
				return nil, err
			}
			result.Others = max(result.Others, math.Round(100*others)/100)
		}
		fmt.Fprintf(os.Stderr, "%s, %d of %d; others used up to %.2f processors\n", s.name, n+1, runs, result.Others)
		if err := s.once(ctx, b, result); err != nil {
			return nil, err
		}
	}
	fmt.Fprintf(os.Stderr, "%s took %v\n", s.name, time.Since(began).Round(time.Second))
	return result, nil
}

func noWarmUp(context.Context, *bench) error { return nil }

// readArtifacts has the kernel keep the files that machines boot from in its page cache.
func readArtifacts(context.Context, *bench) error {
	for _, name := range []string{nodeImage(), bundleFile(), program} {
		if _, err := os.ReadFile(name); err != nil {
			return err
		}
	}
	return nil
}
