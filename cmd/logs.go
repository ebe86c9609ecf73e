package cmd

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/dorykube/dory/cluster"
	"github.com/dorykube/dory/internal/fail"
	"github.com/dorykube/dory/provision"
	"github.com/spf13/cobra"
)

type logsFlags struct {
	node, file       string
	lines            int
	counted          bool // --length was given
	follow, problems bool
}

// units are what the node runs for Kubernetes, as flags of journalctl.
var units = "-u " + strings.Join(cluster.Units, " -u ")

func (a *app) logsCommand() *cobra.Command {
	f := &logsFlags{}
	c := &cobra.Command{
		Use: "logs", Short: "Show what the node and dory wrote", Args: noArgs,
		Long: `Shows the journal of the node's services, the end of the machine's console, and dory's own log. When the machine
does not run, what is on this computer is shown.

With --problems, known trouble is looked for in these: what it means, and what to do. With --file, one archive (tar, gzip) is
written for a bug report: all logs, what Kubernetes says, what is known of cluster and computer. Private keys, tokens and
passwords are left out of it.`,
		RunE: func(c *cobra.Command, _ []string) error {
			f.counted = c.Flags().Changed("length")
			return a.logs(c.Context(), f)
		},
	}
	flags := c.Flags()
	flags.BoolVarP(&f.follow, "follow", "f", false, "go on showing the journal as it grows")
	flags.BoolVar(&f.problems, "problems", false, "show what trouble the logs tell of, and what to do")
	flags.IntVarP(&f.lines, "length", "n", 60, "how many `LINES` of each; 5000 with --file")
	stringFlag(flags, &f.file, "file", "", "", "write an archive for a bug report to `FILE`, in place of what is there")
	stringFlag(flags, &f.node, "node", "", "", "the `NODE`; without it the control plane")
	return c
}

func (a *app) logs(ctx context.Context, f *logsFlags) error {
	if f.lines < 1 {
		return fail.New(fail.Usage, "--length %d shows nothing", f.lines)
	}
	if f.file != "" && f.follow {
		return fail.New(fail.Usage, "--file writes one archive, and --follow does not end").WithAdvice("'dory logs --follow >FILE'")
	}
	name, err := a.name()
	if err != nil {
		return err
	}
	if f.file != "" {
		return a.bugReport(ctx, name, f)
	}
	if _, err := a.manager.SSHKey(name, f.node); err != nil && !fail.Is(err, fail.RecordCorrupt) {
		return err
	}
	switch {
	case f.follow:
		return a.journal(ctx, a.Out, name, f.node, fmt.Sprintf("-n %d -f %s", f.lines, units))
	case f.problems:
		return a.problems(ctx, name, f)
	}
	text, err := a.manager.Log(name)
	f.section(a.Out, "dory", text, err)
	text, err = a.manager.Console(ctx, name)
	f.section(a.Out, "console", text, err)
	var journal strings.Builder
	err = a.journal(ctx, &journal, name, f.node, fmt.Sprintf("-n %d %s", f.lines, units))
	f.section(a.Out, "journal", journal.String(), err)
	return nil
}

// section writes the end of a log, or why there is none.
func (f *logsFlags) section(out io.Writer, title, text string, err error) {
	fmt.Fprintf(out, "==> %s <==\n", title)
	if err != nil {
		fmt.Fprintf(out, "(not there: %s)\n\n", fail.As(err).Error())
	}
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	for _, line := range lines[max(0, len(lines)-f.lines):] {
		fmt.Fprintln(out, line)
	}
	fmt.Fprintln(out)
}

// journal reads the node's journal.
func (a *app) journal(ctx context.Context, out io.Writer, name, node, which string) error {
	n, err := a.manager.Login(ctx, name, node)
	if err != nil {
		return err
	}
	defer n.Close()
	return n.Run(ctx, provision.Cmd{Shell: "journalctl --no-pager -o short-iso " + which, Stdout: out})
}
