package cmd

import (
	"context"
	"fmt"
	"maps"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/dorykube/dory/cluster"
	"github.com/dorykube/dory/internal/fail"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Version is set when the program is linked; see Makefile.
var Version = "unknown"

func (a *app) versionCommand() *cobra.Command {
	var short, components bool
	c := &cobra.Command{
		Use: "version", Short: "Print dory's version", Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			switch {
			case short:
				fmt.Fprintln(a.Out, Version)
				return nil
			case components:
				return a.printComponents(c.Context())
			case a.json():
				return writeJSON(a.Out, versionInfo())
			}
			a.printVersion()
			return nil
		},
	}
	c.Flags().BoolVar(&short, "short", false, "only the version")
	c.Flags().BoolVar(&components, "components", false, "also what new clusters are made of: components of the bundle, packages of the node image")
	return c
}

func (a *app) printVersion() {
	fmt.Fprintf(a.Out, "dory version: %s\ncommit: %s\nkubernetes: %s\n", Version, revision(), strings.Join(cluster.Versions, ", "))
}

func (a *app) printComponents(ctx context.Context) error {
	found, err := a.manager.Components(ctx)
	if err != nil {
		return err
	}
	if a.json() {
		info := versionInfo()
		info["components"] = found
		return writeJSON(a.Out, info)
	}
	a.printVersion()
	toolchain := found.Go
	if toolchain == "" {
		toolchain = "unknown"
	}
	fmt.Fprintf(a.Out, "\nBundle of Kubernetes %s, of %s, Go toolchain %s\n", found.Kubernetes, found.BundleDate, toolchain)
	for _, part := range found.Components {
		fmt.Fprintf(a.Out, "  %-28s %s\n", part.Name, part.Version)
	}
	fmt.Fprintf(a.Out, "\nNode image of %s, Debian %s, kernel %s\n", found.ImageDate, found.Debian, found.Kernel)
	for _, name := range slices.Sorted(maps.Keys(found.Packages)) {
		fmt.Fprintf(a.Out, "  %-28s %s\n", name, found.Packages[name])
	}
	return nil
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
