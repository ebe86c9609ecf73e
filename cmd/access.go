package cmd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"

	"github.com/dorykube/dory/provision"
	"github.com/spf13/cobra"
	"golang.org/x/term"
)

func (a *app) sshCommand() *cobra.Command {
	var node string
	native := true
	c := &cobra.Command{
		Use: "ssh [-- COMMAND...]", Short: "Log in to a node, or run a command on it",
		Long: "Logs in to a node as root, or runs a command there, which gets stdin, stdout, stderr and gives its exit code.",
		RunE: func(c *cobra.Command, args []string) error {
			return a.ssh(c.Context(), node, strings.Join(args, " "))
		},
	}
	c.Flags().SetInterspersed(false)
	nodeFlag(c, &node)
	c.Flags().BoolVar(&native, "native-ssh", true, "speak SSH by itself, which is what dory does anyway")
	c.Flags().MarkHidden("native-ssh")
	return c
}

func nodeFlag(c *cobra.Command, node *string) {
	stringFlag(c.Flags(), node, "node", "n", "", "the `NODE`; without it the control plane")
}

func (a *app) ssh(ctx context.Context, node, command string) error {
	name, err := a.name()
	if err != nil {
		return err
	}
	client, err := a.manager.Login(ctx, name, node)
	if err != nil {
		return err
	}
	defer client.Close()
	cmd := provision.Cmd{Shell: command, Stdin: a.In, Stdout: a.Out, Stderr: a.Err}
	in := terminal(a.In)
	if in != nil && (command == "" || terminal(a.Out) != nil) {
		restore, tty, err := rawTerminal(in)
		if err != nil {
			return err
		}
		defer restore()
		cmd.TTY = tty
	}
	err = client.Run(ctx, cmd)
	if exit := (*provision.ExitError)(nil); errors.As(err, &exit) {
		if exit.Code == 0 {
			return exitCode(128 + 15) // ended by a signal; which, SSH says by name only
		}
		return exitCode(exit.Code)
	}
	return err
}

// rawTerminal gives the terminal's keys to the other side as they are, until it is restored.
func rawTerminal(in *os.File) (restore func(), tty *provision.TTY, err error) {
	fd := int(in.Fd())
	width, height, err := term.GetSize(fd)
	if err != nil {
		width, height = 80, 24
	}
	old, err := term.MakeRaw(fd)
	if err != nil {
		return nil, nil, fmt.Errorf("set up the terminal: %w", err)
	}
	resize := make(chan [2]int, 1)
	resized := make(chan os.Signal, 1)
	if len(resizeSignals) > 0 {
		signal.Notify(resized, resizeSignals...)
	}
	stop := make(chan struct{})
	go func() {
		defer close(resize)
		for {
			select {
			case <-stop:
				return
			case <-resized:
				if w, h, err := term.GetSize(fd); err == nil {
					resize <- [2]int{w, h}
				}
			}
		}
	}()
	kind := os.Getenv("TERM")
	if kind == "" {
		kind = "xterm"
	}
	restore = func() {
		signal.Stop(resized)
		close(stop)
		term.Restore(fd, old)
	}
	return restore, &provision.TTY{Term: kind, Width: width, Height: height, Resize: resize}, nil
}

func (a *app) sshKeyCommand() *cobra.Command {
	return a.answer("ssh-key", "Print the file with the key that logs in to a node",
		func(_ context.Context, name, node string) (string, error) { return a.manager.SSHKey(name, node) })
}

func (a *app) ipCommand() *cobra.Command {
	return a.answer("ip", "Print the address of a node",
		func(ctx context.Context, name, node string) (string, error) { return a.manager.IP(ctx, name, node) })
}

func (a *app) sshHostCommand() *cobra.Command {
	var known bool
	c := a.answer("ssh-host", "Print a node's host key, as a line of known_hosts",
		func(ctx context.Context, name, node string) (string, error) {
			line, err := a.manager.KnownHost(ctx, name, node)
			if err == nil && known {
				err = appendKnownHost(line)
			}
			return line, err
		})
	c.Flags().BoolVar(&known, "append-known", false, "also add it to ~/.ssh/known_hosts")
	return c
}

// answer is a verb that prints one line about a node.
func (a *app) answer(verb, short string, get func(ctx context.Context, name, node string) (string, error)) *cobra.Command {
	var node string
	c := &cobra.Command{Use: verb, Short: short, Args: noArgs, RunE: func(c *cobra.Command, _ []string) error {
		name, err := a.name()
		if err != nil {
			return err
		}
		line, err := get(c.Context(), name, node)
		if err == nil {
			fmt.Fprintln(a.Out, line)
		}
		return err
	}}
	nodeFlag(c, &node)
	return c
}
