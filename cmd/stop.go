package cmd

import (
	"context"
	"errors"

	"github.com/dorykube/dory/cluster"
	"github.com/spf13/cobra"
)

func (a *app) stopCommand() *cobra.Command {
	var all, keep, powerOff bool
	c := &cobra.Command{
		Use: "stop", Short: "Save the machine and free its memory; the next start resumes it", Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return a.each(c, all, func(ctx context.Context, name string) error {
				stopped, err := a.manager.Stop(ctx, name, cluster.StopOptions{KeepContext: keep, PowerOff: powerOff})
				if err == nil {
					a.changed(name, stopped, "is stopped")
				}
				return err
			})
		},
	}
	c.Flags().BoolVar(&all, "all", false, "stop all clusters")
	c.Flags().BoolVar(&keep, "keep-context-active", false, "leave the kubeconfig's current context as it is")
	c.Flags().BoolVar(&powerOff, "power-off", false, "shut the guest down instead; the next start boots it")
	return c
}

func (a *app) pauseCommand() *cobra.Command {
	return a.pauseOrNot("pause", "Freeze the machine: it uses no CPU meanwhile", "is paused",
		func(ctx context.Context, name string) (bool, error) { return a.manager.Pause(ctx, name) })
}

func (a *app) unpauseCommand() *cobra.Command {
	return a.pauseOrNot("unpause", "Let a paused machine go on", "runs",
		func(ctx context.Context, name string) (bool, error) { return a.manager.Unpause(ctx, name) })
}

func (a *app) pauseOrNot(verb, short, state string, do func(context.Context, string) (bool, error)) *cobra.Command {
	var all bool
	c := &cobra.Command{Use: verb, Short: short, Args: noArgs, RunE: func(c *cobra.Command, _ []string) error {
		return a.each(c, all, func(ctx context.Context, name string) error {
			changed, err := do(ctx, name)
			if err == nil {
				a.changed(name, changed, state)
			}
			return err
		})
	}}
	c.Flags().BoolVar(&all, "all", false, verb+" all clusters")
	return c
}

// each does something with the cluster that is meant, or with all.
func (a *app) each(c *cobra.Command, all bool, do func(ctx context.Context, name string) error) error {
	names, err := a.names(all)
	if err != nil {
		return err
	}
	ctx, done := a.progressing(c.Context(), len(names))
	defer done()
	var failures []error
	for _, name := range names {
		failures = append(failures, do(ctx, name))
	}
	if len(failures) == 1 {
		return failures[0] // not wrapped: it keeps its log file
	}
	return errors.Join(failures...)
}

func (a *app) names(all bool) ([]string, error) {
	if all {
		return a.manager.Names()
	}
	name, err := a.name()
	return []string{name}, err
}

// changed says what a cluster is now, or that it was already.
func (a *app) changed(name string, changed bool, state string) {
	data := map[string]any{"name": name, "changed": changed}
	if !changed {
		state += " already"
	}
	a.say(data, "cluster %q %s", name, state)
}
