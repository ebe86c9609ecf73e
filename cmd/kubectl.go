package cmd

import (
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

func (a *app) kubectlCommand() *cobra.Command {
	return &cobra.Command{
		Use: "kubectl -- ARGUMENTS...", Short: "Run the kubectl of the cluster's version, on the cluster",
		Long: `Runs the kubectl of the cluster's version with a kubeconfig that has only this cluster in it.
A program called kubectl that is a link to dory does the same.`,
		DisableFlagParsing: true, // all flags after the verb are kubectl's, but for global ones right behind it
		RunE: func(c *cobra.Command, args []string) error {
			args, err := a.leadingFlags(c, args)
			if err != nil {
				return err
			}
			name, err := a.name()
			if err != nil {
				return err
			}
			program, config, err := a.manager.Kubectl(c.Context(), name)
			if err != nil {
				return err
			}
			env := append(slices.DeleteFunc(os.Environ(), func(v string) bool {
				return strings.HasPrefix(v, "KUBECONFIG=")
			}), "KUBECONFIG="+config)
			return replace(c.Context(), program, args, env, a.Streams)
		},
	}
}

// leadingFlags reads dory's own flags in front of kubectl's arguments, and returns those.
func (a *app) leadingFlags(c *cobra.Command, args []string) ([]string, error) {
	own := 0
	for own < len(args) && args[own] != "--" && strings.HasPrefix(args[own], "-") {
		name, _, hasValue := strings.Cut(strings.TrimLeft(args[own], "-"), "=")
		flag := c.Root().PersistentFlags().Lookup(name)
		if !strings.HasPrefix(args[own], "--") {
			flag = c.Root().PersistentFlags().ShorthandLookup(name[:min(1, len(name))])
			hasValue = hasValue || len(name) > 1
		}
		if flag == nil {
			break
		}
		own++
		if !hasValue && flag.NoOptDefVal == "" {
			own++
		}
	}
	own = min(own, len(args))
	if err := c.Root().PersistentFlags().Parse(args[:own]); err != nil {
		return nil, flagError(c, err)
	}
	if err := a.begin(); err != nil {
		return nil, err
	}
	if own < len(args) && args[own] == "--" {
		own++
	}
	return args[own:], nil
}
