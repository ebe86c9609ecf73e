// Package cmd is the command line: one file per verb, which turns flags into one call into package cluster and prints
// what comes back.
package cmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/dorykube/dory/cluster"
	"github.com/dorykube/dory/internal/fail"
	"github.com/dorykube/dory/internal/home"
	"github.com/dorykube/dory/internal/nearest"
	"github.com/spf13/cobra"
)

// Streams are where a command reads and writes.
type Streams struct {
	In       io.Reader
	Out, Err io.Writer
}

// app is one run of the program: global flags, and what verbs share.
type app struct {
	Streams
	dirs    home.Dirs
	profile string
	named   func() bool // whether --profile was given
	output  string
	verbose int
	manager *cluster.Manager
}

// exitCode ends the program with a code and without a word: what had to be said was said.
type exitCode int

func (e exitCode) Error() string { return fmt.Sprintf("exit %d", int(e)) }

// Run runs the program and returns its exit code. It is called once in a process.
func Run(ctx context.Context, args []string, streams Streams) int {
	keepInherited()
	home.Complete()
	out := &answer{to: streams.Out}
	streams.Out = out
	a := &app{Streams: streams, dirs: home.Find()}
	rest := args[1:]
	if name := strings.TrimSuffix(filepath.Base(args[0]), ".exe"); name == "kubectl" {
		rest = append([]string{"kubectl", "--"}, rest...)
	}
	root := a.root()
	root.SetArgs(spellOut(rest))
	root.SetIn(streams.In)
	root.SetOut(streams.Out)
	root.SetErr(streams.Err)
	err := root.ExecuteContext(ctx)
	if unwritten := out.err(); unwritten != nil && ctx.Err() == nil {
		return a.report(unwritten, false)
	}
	var code exitCode
	switch {
	case err == nil:
		return 0
	case errors.As(err, &code):
		return int(code)
	}
	if ctx.Err() != nil && !fail.Is(err, fail.Interrupted) {
		err = fail.Wrap(fail.Interrupted, ctx.Err(), "interrupted")
	}
	return a.report(err, wantsJSON(rest))
}

// root is the table of verbs.
func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "dory",
		Short: "A real Kubernetes cluster in a virtual machine: no root, no daemon",
		Long: `dory puts a real Kubernetes cluster into a virtual machine on this computer.
It needs no root, no daemon and no container engine; QEMU is enough.

  dory start            make the cluster, or start it again
  dory kubectl -- ...   talk to it
  dory stop             save it and free its memory
  dory delete           remove every trace of it`,
		SilenceErrors: true, SilenceUsage: true,
		Args: unknownVerb,
		Run:  func(c *cobra.Command, _ []string) { c.Help() },
		PersistentPreRunE: func(c *cobra.Command, _ []string) error {
			return a.begin()
		},
	}
	root.SetFlagErrorFunc(flagError)
	root.CompletionOptions.HiddenDefaultCmd = false
	a.globalFlags(root)
	root.AddGroup(&cobra.Group{ID: groupLife, Title: "A cluster's life:"}, &cobra.Group{ID: groupUse, Title: "Using it:"},
		&cobra.Group{ID: groupOther, Title: "More:"})
	root.SetHelpCommandGroupID(groupOther)
	root.SetCompletionCommandGroupID(groupOther)
	for id, commands := range map[string][]*cobra.Command{
		groupLife:  {a.startCommand(), a.stopCommand(), a.statusCommand(), a.deleteCommand(), a.pauseCommand(), a.unpauseCommand(), a.profileCommand(), a.listCommand(), a.templateCommand()},
		groupUse:   {a.kubectlCommand(), a.sshCommand(), a.cpCommand(), a.ipCommand(), a.logsCommand(), a.sshKeyCommand(), a.sshHostCommand(), a.updateContextCommand()},
		groupOther: {a.doctorCommand(), a.configCommand(), a.versionCommand(), a.optionsCommand()},
	} {
		for _, c := range commands {
			c.GroupID = id
			root.AddCommand(c)
		}
	}
	return root
}

const (
	groupLife  = "life"
	groupUse   = "use"
	groupOther = "other"
)

// begin works out what the global flags mean.
func (a *app) begin() error {
	if a.output != "text" && a.output != "json" {
		return fail.New(fail.Usage, "--output %q: there are text and json", a.output)
	}
	var verbose slog.Handler
	if a.verbose > 0 {
		verbose = slog.NewTextHandler(a.Err, &slog.HandlerOptions{Level: slog.LevelDebug})
	}
	a.manager = cluster.New(a.dirs, verbose)
	return nil
}

// name is the cluster that is meant: the flag's, the environment's, the user's, or the default.
func (a *app) name() (string, error) {
	name := a.profile
	if a.named != nil && a.named() && name == "" {
		return "", cluster.CheckName("") // an empty variable of a script must not mean the default cluster
	}
	if name == "" {
		name = os.Getenv("DORY_PROFILE")
	}
	if name == "" {
		config, err := cluster.LoadUserConfig(a.dirs)
		if err != nil {
			return "", err
		}
		if chosen, ok := config[cluster.ProfileKey]; ok {
			name = fmt.Sprint(chosen)
		}
	}
	if name == "" {
		name = cluster.DefaultName
	}
	return name, cluster.CheckName(name)
}

func (a *app) json() bool { return a.output == "json" }

// unknownVerb refuses what is no verb, with the nearest that is.
func unknownVerb(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	var verbs []string
	for _, sub := range c.Commands() {
		if !sub.Hidden {
			verbs = append(verbs, sub.Name())
			verbs = append(verbs, sub.Aliases...)
		}
	}
	failure := fail.New(fail.Usage, "there is no '%s %s'", c.CommandPath(), args[0])
	if near := nearest.To(args[0], verbs); near != "" {
		failure.WithAdvice("did you mean '%s %s'?", c.CommandPath(), near)
	} else {
		failure.WithAdvice("'%s --help' shows what there is", c.CommandPath())
	}
	return failure
}

// flagError makes what the flag parser says a failure of usage, with the nearest flag.
func flagError(c *cobra.Command, err error) error {
	var failure *fail.Error
	if errors.As(err, &failure) {
		return failure
	}
	if rest := c.Flags().Args(); c.HasSubCommands() && len(rest) > 0 { // an unknown verb's flags are unknown, too
		return unknownVerb(c, rest)
	}
	result := fail.New(fail.Usage, "%s: %s", c.CommandPath(), err).WithAdvice("'%s --help' shows its flags", c.CommandPath())
	if _, flag, ok := strings.Cut(err.Error(), "unknown flag: --"); ok {
		if near := nearest.To(flag, flagNames(c)); near != "" {
			result.WithAdvice("did you mean --%s?", near)
		}
	}
	return result
}

// noArgs refuses arguments.
func noArgs(c *cobra.Command, args []string) error {
	if len(args) > 0 {
		return fail.New(fail.Usage, "'%s' takes no argument, and %q is one", c.CommandPath(), args[0]).
			WithAdvice("the cluster is named with -p; '%s --help' shows the flags", c.CommandPath())
	}
	return nil
}

// exactArgs refuses any other number of arguments.
func exactArgs(n int) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) != n {
			return fail.New(fail.Usage, "'%s' takes %d arguments, not %d", c.CommandPath(), n, len(args)).
				WithAdvice("it is used so: %s", c.UseLine())
		}
		return nil
	}
}
