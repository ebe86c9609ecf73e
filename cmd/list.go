package cmd

import (
	"fmt"
	"text/tabwriter"

	"github.com/dorykube/dory/cluster"
	"github.com/dorykube/dory/internal/fail"
	"github.com/spf13/cobra"
)

func (a *app) profileCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "profile [NAME]", Short: "Show or choose the cluster that is meant when none is named",
		Args: func(c *cobra.Command, args []string) error {
			if len(args) > 1 {
				return fail.New(fail.Usage, "'%s' takes one name", c.CommandPath())
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				name, err := a.name()
				if err == nil {
					fmt.Fprintln(a.Out, name)
				}
				return err
			}
			return a.setConfig(cluster.ProfileKey, args[0])
		},
	}
	c.AddCommand(a.listCommand())
	return c
}

func (a *app) listCommand() *cobra.Command {
	var light bool
	c := &cobra.Command{
		Use: "list", Short: "List the clusters", Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			rows, err := a.manager.List(c.Context(), !light)
			if err != nil {
				return err
			}
			return a.printList(rows)
		},
	}
	c.Flags().BoolVarP(&light, "light", "l", false, "do not ask the machines what they do")
	return c
}

func (a *app) printList(rows []cluster.Listed) error {
	active, _ := a.name()
	for i := range rows {
		rows[i].Active = rows[i].Name == active
	}
	if a.json() {
		valid, invalid := []cluster.Listed{}, []cluster.Listed{} // minikube's keys
		for _, row := range rows {
			if row.Driver == "" {
				invalid = append(invalid, row)
			} else {
				valid = append(valid, row)
			}
		}
		return writeJSON(a.Out, map[string]any{"valid": valid, "invalid": invalid})
	}
	if len(rows) == 0 {
		fmt.Fprintln(a.Err, "there is no cluster; 'dory start' makes one")
		return nil
	}
	w := tabwriter.NewWriter(a.Out, 0, 0, 3, ' ', 0)
	fmt.Fprintln(w, "NAME\tDRIVER\tKUBERNETES\tSTATUS\tCPUS\tMEMORY\tDISK\tACTIVE")
	for _, r := range rows {
		mark := ""
		if r.Active {
			mark = "*"
		}
		if r.Driver == "" {
			fmt.Fprintf(w, "%s\t-\t-\t%s\t-\t-\t-\t%s\n", r.Name, r.Status, mark)
			continue
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%s\t%s\t%s\n", r.Name, r.Driver, r.Kubernetes, orDash(r.Status), r.CPUs, r.Memory, r.Disk, mark)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, r := range rows {
		if r.Reason != "" {
			fmt.Fprintf(a.Err, "%s: %s\n", r.Name, r.Reason)
		}
	}
	return nil
}

func orDash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}
