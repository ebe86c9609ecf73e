package cmd

import (
	"errors"

	"github.com/dorykube/dory/internal/fail"
	"github.com/spf13/cobra"
)

func (a *app) deleteCommand() *cobra.Command {
	var all, purge bool
	c := &cobra.Command{
		Use: "delete", Short: "Remove every trace of the cluster", Args: noArgs,
		Long: "Removes every trace of the cluster: machine, disk, keys, entries in the kubeconfig. It is no error if there is none.",
		RunE: func(c *cobra.Command, _ []string) error { return a.delete(c, all, purge) },
	}
	c.Flags().BoolVar(&all, "all", false, "delete all clusters")
	c.Flags().BoolVar(&purge, "purge", false, "also remove configuration and cache, with node image and bundles")
	return c
}

func (a *app) delete(c *cobra.Command, all, purge bool) error {
	name, err := a.name()
	if err != nil {
		return err
	}
	if purge && !all {
		if err := a.onlyCluster(name); err != nil {
			return err
		}
	}
	ctx, done := a.progressing(c.Context(), 1)
	defer done()
	if all {
		deleted, failed := a.manager.DeleteAll(ctx)
		for _, name := range deleted {
			a.say(map[string]any{"name": name}, "cluster %q is deleted", name)
		}
		if failed == nil && len(deleted) == 0 {
			a.say(nil, "there is no cluster")
		}
		err = failed
	} else {
		var existed bool
		if existed, err = a.manager.Delete(ctx, name); err == nil && existed {
			a.say(map[string]any{"name": name}, "cluster %q is deleted", name)
		} else if err == nil {
			a.say(map[string]any{"name": name}, "there is no cluster %q", name)
		}
	}
	done()
	if err == nil && purge {
		err = a.manager.Purge()
	}
	return err
}

// onlyCluster refuses to purge while there are clusters besides the one that is deleted.
func (a *app) onlyCluster(name string) error {
	names, err := a.manager.Names()
	for _, other := range names {
		if other != name {
			err = errors.Join(err, fail.New(fail.Usage, "--purge would remove cluster %q too", other).
				WithAdvice("say so: 'dory delete --all --purge'"))
			break
		}
	}
	return err
}
