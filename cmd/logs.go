package cmd

import (
	"context"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"

	"github.com/dorykube/dory/internal/fail"
	"github.com/dorykube/dory/provision"
	"github.com/spf13/cobra"
)

type logsFlags struct {
	node, file       string
	lines            int
	follow, problems bool
}

// units are what the node runs for Kubernetes.
const units = "-u containerd -u etcd -u kube-apiserver -u kube-controller-manager -u kube-scheduler -u kubelet -u kube-proxy -u dory-bundle"

// problem is what a line says that tells of trouble: levels of klog, logrus and slog, and the kernel's words.
var problem = regexp.MustCompile(`(?i)^[EF]\d{4} |\b(level=(error|fatal)|"level":"(error|warn)"|panic:|fatal|failed|error|oom-kill|out of memory|segfault|i/o error|no space left)\b`)

func (a *app) logsCommand() *cobra.Command {
	f := &logsFlags{}
	c := &cobra.Command{
		Use: "logs", Short: "Show what the node and dory wrote", Args: noArgs,
		Long: "Shows the journal of the node's services, the end of the machine's console, and dory's own log. When the machine\ndoes not run, what is on this computer is shown.",
		RunE: func(c *cobra.Command, _ []string) error { return a.logs(c.Context(), f) },
	}
	flags := c.Flags()
	flags.BoolVarP(&f.follow, "follow", "f", false, "go on showing the journal as it grows")
	flags.BoolVar(&f.problems, "problems", false, "only lines that tell of trouble")
	flags.IntVarP(&f.lines, "length", "n", 60, "how many `LINES` of each")
	stringFlag(flags, &f.file, "file", "", "", "write to `FILE`")
	stringFlag(flags, &f.node, "node", "", "", "the `NODE`; without it the control plane")
	return c
}

func (a *app) logs(ctx context.Context, f *logsFlags) error {
	if f.lines < 1 {
		return fail.New(fail.Usage, "--length %d shows nothing", f.lines)
	}
	name, err := a.name()
	if err != nil {
		return err
	}
	if _, err := a.manager.SSHKey(name, f.node); err != nil && !fail.Is(err, fail.RecordCorrupt) {
		return err
	}
	out := a.Out
	if f.file != "" {
		file, err := os.OpenFile(f.file, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
		if err != nil {
			return fail.Wrap(fail.HostPermission, err, "write the logs")
		}
		defer file.Close()
		out = file
	}
	if f.follow {
		return a.journal(ctx, out, name, f)
	}
	text, err := a.manager.Log(name)
	f.section(out, "dory", text, err)
	text, err = a.manager.Console(ctx, name)
	f.section(out, "console", text, err)
	var journal strings.Builder
	err = a.journal(ctx, &journal, name, f)
	f.section(out, "journal", journal.String(), err)
	return nil
}

// section writes the end of a log, or why there is none.
func (f *logsFlags) section(out io.Writer, title, text string, err error) {
	fmt.Fprintf(out, "==> %s <==\n", title)
	if err != nil {
		fmt.Fprintf(out, "(not there: %s)\n\n", fail.As(err).Error())
	}
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	if f.problems {
		kept := lines[:0]
		for _, line := range lines {
			if problem.MatchString(line) {
				kept = append(kept, line)
			}
		}
		lines = kept
	}
	for _, line := range lines[max(0, len(lines)-f.lines):] {
		fmt.Fprintln(out, line)
	}
	fmt.Fprintln(out)
}

// journal reads the node's journal. To find problems more of it is read than is shown.
func (a *app) journal(ctx context.Context, out io.Writer, name string, f *logsFlags) error {
	node, err := a.manager.Login(ctx, name, f.node)
	if err != nil {
		return err
	}
	defer node.Close()
	lines, more := f.lines, ""
	if f.problems {
		lines = 50 * f.lines
	}
	if f.follow {
		more = " -f"
	}
	command := fmt.Sprintf("journalctl --no-pager -o short-iso -n %d%s %s", lines, more, units)
	return node.Run(ctx, provision.Cmd{Shell: command, Stdout: out})
}
