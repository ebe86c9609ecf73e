package cmd

import (
	"fmt"
	"net"
	"strconv"
	"strings"
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
		valid, invalid := []profileRow{}, []profileRow{}
		for _, row := range rows {
			if row.Driver == "" {
				invalid = append(invalid, profileRow{Listed: row})
			} else {
				valid = append(valid, profileRow{row, profileConfigOf(row)})
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

// profileRow is a row with minikube's keys, as skaffold and others read 'minikube profile list -o json'; see type Profile in minikube's
// pkg/minikube/config.
type profileRow struct {
	cluster.Listed
	Config *profileConfig `json:"Config,omitempty"`
}

type profileConfig struct {
	Name             string
	Driver           string
	Memory, DiskSize int // MB
	CPUs             int
	KubernetesConfig struct{ KubernetesVersion, ClusterName string }
	Nodes            []profileNode
}

type profileNode struct {
	Name              string
	IP                string
	Port              int // of the API server; 0: not known, as long as the machine does not run
	KubernetesVersion string
	ControlPlane      bool
	Worker            bool
}

func profileConfigOf(row cluster.Listed) *profileConfig {
	c := &profileConfig{Name: row.Name, Driver: row.Driver, CPUs: row.CPUs, Memory: int(row.Memory >> 20), DiskSize: int(row.Disk >> 20)}
	c.KubernetesConfig.KubernetesVersion, c.KubernetesConfig.ClusterName = row.Kubernetes, row.Name
	node := profileNode{KubernetesVersion: row.Kubernetes, ControlPlane: true, Worker: true}
	if host, port, err := net.SplitHostPort(strings.TrimPrefix(row.Server, "https://")); err == nil {
		node.IP = host
		node.Port, _ = strconv.Atoi(port)
	}
	c.Nodes = []profileNode{node}
	return c
}

func orDash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}
