package cmd

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/dorykube/dory/cluster"
	"github.com/dorykube/dory/internal/fail"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Version is set when the program is linked; see Makefile.
var Version = "unknown"

func (a *app) versionCommand() *cobra.Command {
	var short bool
	c := &cobra.Command{
		Use: "version", Short: "Print dory's version", Args: noArgs,
		RunE: func(*cobra.Command, []string) error {
			if short {
				fmt.Fprintln(a.Out, Version)
				return nil
			}
			if a.json() {
				return writeJSON(a.Out, versionInfo())
			}
			fmt.Fprintf(a.Out, "dory version: %s\ncommit: %s\nkubernetes: %s\n", Version, revision(), strings.Join(cluster.Versions, ", "))
			return nil
		},
	}
	c.Flags().BoolVar(&short, "short", false, "only the version")
	return c
}

// versionInfo is what this program is.
func versionInfo() map[string]any {
	return map[string]any{"doryVersion": Version, "commit": revision(), "go": runtime.Version(),
		"platform": runtime.GOOS + "/" + runtime.GOARCH, "kubernetesVersions": cluster.Versions}
}

// revision is the commit that the program was built from, as far as the Go tools noted it.
func revision() string {
	info, ok := debug.ReadBuildInfo()
	if ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				return s.Value
			}
		}
	}
	return "unknown"
}

func (a *app) optionsCommand() *cobra.Command {
	return &cobra.Command{
		Use: "options", Short: "Show the flags that every command takes", Args: noArgs,
		Run: func(c *cobra.Command, _ []string) {
			fmt.Fprintln(a.Out, "Every command takes these flags:")
			visible := pflag.NewFlagSet("", pflag.ContinueOnError)
			c.Root().PersistentFlags().VisitAll(func(f *pflag.Flag) {
				if !f.Hidden {
					visible.AddFlag(f)
				}
			})
			fmt.Fprint(a.Out, visible.FlagUsages())
		},
	}
}

// oneArg refuses any number of arguments but one.
func oneArg(what string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) != 1 {
			return fail.New(fail.Usage, "'%s' takes one %s", c.CommandPath(), what).WithAdvice("it is used so: %s", c.UseLine())
		}
		return nil
	}
}
