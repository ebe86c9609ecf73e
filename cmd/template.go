package cmd

import (
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/dorykube/dory/cluster"
	"github.com/dorykube/dory/internal/fail"
	"github.com/dorykube/dory/internal/size"
	"github.com/spf13/cobra"
)

func (a *app) templateCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "template", Short: "The frozen nodes that clusters are forked from", Args: noArgs,
		Long: "A template is made by the first start of a configuration. It can be removed at any time: clusters that were\nforked from it stay as they are, and the next start that needs it makes it anew.",
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(
		&cobra.Command{Use: "list", Short: "List the templates", Args: noArgs, RunE: func(c *cobra.Command, _ []string) error {
			templates, err := a.manager.Templates()
			if err != nil {
				return err
			}
			return a.printTemplates(templates)
		}},
		a.deleteTemplateCommand(),
		a.pruneTemplatesCommand(),
	)
	return c
}

func (a *app) deleteTemplateCommand() *cobra.Command {
	var all bool
	c := &cobra.Command{
		Use: "delete KEY", Short: "Remove a template, named by its key or the beginning of it",
		Args: func(c *cobra.Command, args []string) error {
			if len(args) != 1 && !all || len(args) > 0 && all {
				return fail.New(fail.Usage, "'%s' takes one key, or --all", c.CommandPath())
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			keys := args
			if all {
				templates, err := a.manager.Templates()
				if err != nil {
					return err
				}
				for _, t := range templates {
					keys = append(keys, t.Key)
				}
			}
			for _, key := range keys {
				t, err := a.manager.DeleteTemplate(c.Context(), key)
				if err != nil {
					return err
				}
				a.say(map[string]any{"key": t.Key}, "template %s is deleted", t.Key)
			}
			return nil
		},
	}
	c.Flags().BoolVar(&all, "all", false, "remove all templates")
	return c
}

func (a *app) pruneTemplatesCommand() *cobra.Command {
	limit := cluster.TemplatesLimit
	c := &cobra.Command{
		Use: "prune", Short: "Remove templates that no cluster was forked from, until the rest is within the limit", Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			removed, err := a.manager.PruneTemplates(c.Context(), limit)
			var sum size.Size
			for _, t := range removed {
				sum += t.Size
				a.say(map[string]any{"key": t.Key}, "template %s is deleted", t.Key)
			}
			if err == nil {
				a.say(map[string]any{"removed": len(removed), "bytes": int64(sum)}, "%d removed, %s freed", len(removed), sum.Round())
			}
			return err
		},
	}
	c.Flags().Var(&sizeFlag{&limit}, "limit", "how much space all templates together may take")
	return c
}

// sizeFlag lets a size be a flag.
type sizeFlag struct{ *size.Size }

func (f sizeFlag) Set(text string) error { return f.UnmarshalText([]byte(text)) }
func (f sizeFlag) Type() string          { return "size" }
func (f sizeFlag) String() string {
	if f.Size == nil {
		return ""
	}
	return f.Size.String()
}

func (a *app) printTemplates(templates []*cluster.Template) error {
	if a.json() {
		return writeJSON(a.Out, templates)
	}
	if len(templates) == 0 {
		fmt.Fprintln(a.Err, "there is no template; 'dory start' makes one")
		return nil
	}
	w := tabwriter.NewWriter(a.Out, 0, 0, 3, ' ', 0)
	fmt.Fprintln(w, "KEY\tKUBERNETES\tCPUS\tMEMORY\tADDONS\tSIZE\tLAST USED\tCLUSTERS")
	for _, t := range templates {
		fmt.Fprintf(w, "%s\t%s\t%d\t%s\t%s\t%s\t%s\t%d\n", t.Key[:min(12, len(t.Key))], orDash(t.Kubernetes), t.Spec.CPUs, t.Spec.Memory,
			orDash(strings.Join(t.Spec.Addons, ",")), t.Size.Round(), t.Used.Format(time.DateTime), len(t.Clusters))
	}
	return w.Flush()
}
