package cmd

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"text/template"
	"time"

	"github.com/dorykube/dory/cluster"
	"github.com/dorykube/dory/internal/fail"
	"github.com/spf13/cobra"
)

type statusFlags struct {
	format, node, layout string
	watch                time.Duration
}

func (a *app) statusCommand() *cobra.Command {
	f := &statusFlags{}
	c := &cobra.Command{
		Use: "status", Short: "Show what the cluster does", Args: noArgs,
		Long: `Shows what host, kubelet, API server and kubeconfig of the cluster do.

The exit code has bit 1 set if the host does not run, 2 if kubelet or API server do not, and 4 if the kubeconfig does not
lead to the cluster.`,
		RunE: func(c *cobra.Command, _ []string) error { return a.status(c.Context(), f) },
	}
	flags := c.Flags()
	stringFlag(flags, &f.format, "format", "f", "", "Go `TEMPLATE` over Name, Host, Kubelet, APIServer, Kubeconfig, Worker")
	stringFlag(flags, &f.node, "node", "n", "", "the `NODE`; all without")
	stringFlag(flags, &f.layout, "layout", "l", "nodes", "`LAYOUT` of the JSON: nodes or cluster")
	flags.DurationVarP(&f.watch, "watch", "w", 0, "show it again and again, so often")
	flags.Lookup("watch").NoOptDefVal = "1s"
	return c
}

func (a *app) status(ctx context.Context, f *statusFlags) error {
	name, err := a.name()
	if err != nil {
		return err
	}
	print, err := a.statusPrinter(f)
	if err != nil {
		return err
	}
	if f.node != "" && f.node != name && f.node != cluster.NodeName {
		return fail.New(fail.GuestMissing, "cluster %q has no node %q", name, f.node)
	}
	for {
		status, err := a.manager.Status(ctx, name)
		if err != nil {
			return err
		}
		if err := print(status); err != nil {
			return err
		}
		if f.watch <= 0 {
			if code := status.ExitCode(); code != 0 {
				return exitCode(code)
			}
			return nil
		}
		select {
		case <-ctx.Done():
			return exitCode(status.ExitCode()) // Ctrl-C is how one ends watching
		case <-time.After(f.watch):
		}
	}
}

const statusText = `{{.Name}}
type: {{if .Worker}}Worker{{else}}Control Plane{{end}}
host: {{.Host}}
kubelet: {{.Kubelet}}
apiserver: {{.APIServer}}
kubeconfig: {{.Kubeconfig}}

`

// statusPrinter chooses how a status is shown, and refuses what makes no sense before anything is asked.
func (a *app) statusPrinter(f *statusFlags) (func(cluster.Status) error, error) {
	if f.layout != "nodes" && f.layout != "cluster" {
		return nil, fail.New(fail.Usage, "--layout %q: there are nodes and cluster", f.layout)
	}
	if f.format != "" && a.json() {
		return nil, fail.New(fail.Usage, "--format and --output json exclude each other")
	}
	if f.layout == "cluster" {
		return func(s cluster.Status) error { return writeJSON(a.Out, clusterLayout(s)) }, nil
	}
	if a.json() {
		return func(s cluster.Status) error { return json.NewEncoder(a.Out).Encode(s) }, nil
	}
	text := statusText
	if f.format != "" {
		text = f.format
	}
	parsed, err := template.New("format").Parse(text)
	if err != nil {
		return nil, badFormat(err)
	}
	return func(s cluster.Status) error {
		if err := parsed.Execute(a.Out, s); err != nil {
			return badFormat(err)
		}
		if f.format == "" {
			for _, reason := range s.Reasons {
				fmt.Fprintf(a.Err, "%s: %s\n", s.Name, reason)
			}
		}
		return nil
	}, nil
}

func badFormat(err error) error {
	return fail.Wrap(fail.BadValue, err, "use --format").
		WithAdvice("write a Go template over .Name, .Host, .Kubelet, .APIServer, .Kubeconfig and .Worker")
}

// clusterLayout is minikube's JSON for 'status --layout cluster': codes as in HTTP.
func clusterLayout(s cluster.Status) map[string]any {
	component := func(name, state string) map[string]any {
		code, word := statusCode(state)
		return map[string]any{"Name": name, "StatusCode": code, "StatusName": word}
	}
	node := component(s.Name, s.Host)
	node["Components"] = map[string]any{"apiserver": component("apiserver", s.APIServer), "kubelet": component("kubelet", s.Kubelet)}
	whole := component(s.Name, s.Host)
	whole["Components"] = map[string]any{"kubeconfig": component("kubeconfig", s.Kubeconfig)}
	whole["Nodes"] = []any{node}
	return whole
}

func statusCode(state string) (int, string) {
	switch state {
	case "Running", "Configured":
		return 200, "OK"
	case "Stopped":
		return 405, "Stopped"
	case "Paused":
		return 418, "Paused"
	case "Nonexistent":
		return 404, "NotFound"
	case "Unknown":
		return 520, "Unknown"
	default:
		return 500, "Error"
	}
}

func writeJSON(out io.Writer, value any) error {
	encoder := json.NewEncoder(out)
	encoder.SetIndent("", "  ")
	return encoder.Encode(value)
}
