package cmd

import "github.com/spf13/cobra"

func (a *app) updateContextCommand() *cobra.Command {
	return &cobra.Command{
		Use: "update-context", Short: "Make the kubeconfig lead to the cluster", Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			name, err := a.name()
			if err != nil {
				return err
			}
			changed, err := a.manager.UpdateContext(c.Context(), name)
			if err != nil {
				return err
			}
			if changed {
				a.say(map[string]any{"name": name, "changed": true}, "context %q leads to the cluster now", name)
			} else {
				a.say(map[string]any{"name": name, "changed": false}, "context %q led to the cluster already, and is the current one", name)
			}
			return nil
		},
	}
}
