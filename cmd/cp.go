package cmd

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/dorykube/dory/cluster"
	"github.com/dorykube/dory/internal/fail"
	"github.com/dorykube/dory/internal/progress"
	"github.com/pkg/sftp"
	"github.com/spf13/cobra"
)

func (a *app) cpCommand() *cobra.Command {
	recursive := false
	c := &cobra.Command{
		Use: "cp [NODE:]SOURCE [NODE:]TARGET", Short: "Copy a file to or from a node",
		Long: `Copies a file to or from a node, or between two; with -r a directory and all that is in it. Paths on a node are absolute. A target
without a node is on the control plane, unless the source names a node: then it is on this computer. A target that is a directory
gets the copy inside. The source - is the standard input.`,
		Args: exactArgs(2),
		RunE: func(c *cobra.Command, args []string) error { return a.cp(c.Context(), args[0], args[1], recursive) },
	}
	c.Flags().BoolVarP(&recursive, "recursive", "r", false, "copy directories, with all that is in them")
	return c
}

// place is one end of a copy.
type place struct {
	remote bool
	node   string
	path   string
}

// parsePlace reads [NODE:]PATH. A path of this computer that has a colon in it begins with a slash or a dot.
func parsePlace(text string) place {
	node, rest, ok := strings.Cut(text, ":")
	if !ok || strings.ContainsAny(node, `/\.`) || cluster.CheckName(node) != nil || len(node) == 1 && filepath.VolumeName(text) != "" {
		return place{path: text}
	}
	return place{remote: true, node: node, path: rest}
}

func (a *app) cp(ctx context.Context, from, to string, recursive bool) error {
	source, target := parsePlace(from), parsePlace(to)
	if !source.remote && !target.remote {
		target.remote = true
	}
	for _, p := range []place{source, target} {
		if p.remote && !strings.HasPrefix(p.path, "/") {
			return fail.New(fail.Usage, "%q is not an absolute path on a node", p.path)
		}
	}
	if from != standardInput && !source.remote { // before anybody logs in
		if _, err := os.Stat(source.path); err != nil {
			return copyError(err, "read the source")
		}
	}
	name, err := a.name()
	if err != nil {
		return err
	}
	reads, closeSource, err := a.treeOf(ctx, name, source)
	if err != nil {
		return err
	}
	defer closeSource()
	writes, closeTarget, err := a.treeOf(ctx, name, target)
	if err != nil {
		return err
	}
	defer closeTarget()
	return a.watched(ctx, progress.Step{Name: "copy", Title: "Copying"}, func(ctx context.Context) error {
		if from == standardInput {
			return putInput(ctx, a.In, writes, target.path)
		}
		return copyPath(ctx, reads, source.path, writes, target.path, recursive)
	})
}

// standardInput is how tools name it.
const standardInput = "-"

// treeOf opens the files of this computer or of a node.
func (a *app) treeOf(ctx context.Context, name string, p place) (t tree, close func() error, err error) {
	if !p.remote {
		return hostTree{}, func() error { return nil }, nil
	}
	node, err := a.manager.Login(ctx, name, p.node)
	if err != nil {
		return nil, nil, err
	}
	files, ok := node.(interface{ SFTP() (*sftp.Client, error) })
	if !ok {
		node.Close()
		return nil, nil, errors.New("the node has no SFTP")
	}
	client, err := files.SFTP()
	if err != nil {
		node.Close()
		return nil, nil, err
	}
	return nodeTree{client, node.Put}, node.Close, nil
}

func appendKnownHost(line string) error {
	dir, err := os.UserHomeDir()
	if err != nil {
		return err
	}
	dir = filepath.Join(dir, ".ssh")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fail.Wrap(fail.HostPermission, err, "make %s", dir)
	}
	f, err := os.OpenFile(filepath.Join(dir, "known_hosts"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fail.Wrap(fail.HostPermission, err, "open known_hosts")
	}
	_, err = io.WriteString(f, line+"\n")
	return errors.Join(err, f.Close())
}
