package main

import (
	"context"
	"fmt"
	"os"
	"time"
)

// sizes are those of what 'make artifacts' built, and of the program.
func sizes(_ context.Context, _ *bench, s *section) error {
	for _, file := range []struct{ name, path string }{
		{"node image", nodeImage()}, {"bundle", bundleFile()}, {"dory", program},
	} {
		info, err := os.Stat(file.path)
		if err != nil {
			return err
		}
		s.add(file.name, "MB", float64(info.Size())/1e6)
	}
	return nil
}

// cold is a cluster without a template, from the first boot to DNS' first answer.
func cold(ctx context.Context, b *bench, s *section) error {
	d, err := newHome()
	if err != nil {
		return err
	}
	defer d.remove(context.WithoutCancel(ctx))
	began := time.Now()
	steps, err := d.events(ctx, "start", "--wait=all", "--no-template")
	if err != nil {
		return err
	}
	took := time.Since(began)
	s.add(rowCold, "s", took.Seconds())
	var banner time.Time
	for _, step := range steps {
		if step.name == "boot" {
			banner = step.at
		}
	}
	if banner.IsZero() {
		return fmt.Errorf("start has no step boot")
	}
	s.add(rowSSH, "s", banner.Sub(began).Seconds())
	k, err := b.kubectlFor(ctx, d, "dory")
	if err != nil {
		return err
	}
	if err := k.phases(ctx, s, took); err != nil {
		return err
	}
	s.since(rowDNS, banner)
	if err := k.transitions(ctx, s, banner); err != nil {
		return err
	}
	for _, step := range steps {
		s.add("step "+step.name, "s", step.took.Seconds())
	}
	return resident(s, machines(d.dir))
}

// makeTemplate is the first start of a configuration. The first home that it makes stays, for the scenarios that need a template.
func makeTemplate(ctx context.Context, b *bench, s *section) error {
	d, err := newHome()
	if err != nil {
		return err
	}
	began := time.Now()
	steps, err := d.events(ctx, "start", "-p", "first")
	if err == nil {
		s.since("start: exec to exit", began)
		for _, step := range steps {
			if step.name == "settle" || step.name == "freeze" {
				s.add("step "+step.name, "s", step.took.Seconds())
			}
		}
		_, err = d.dory(ctx, "delete", "-p", "first")
	}
	if err != nil || b.home != nil {
		d.remove(context.WithoutCancel(ctx))
		return err
	}
	b.home = d
	return nil
}
