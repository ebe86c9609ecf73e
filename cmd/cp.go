package cmd

import (
	"context"
	"errors"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/dorykube/dory/cluster"
	"github.com/dorykube/dory/internal/fail"
	"github.com/pkg/sftp"
	"github.com/spf13/cobra"
)

func (a *app) cpCommand() *cobra.Command {
	return &cobra.Command{
		Use: "cp [NODE:]SOURCE [NODE:]TARGET", Short: "Copy a file to or from a node",
		Long: `Copies a file to or from a node, or between two. Paths on a node are absolute. A target without a node is on the control
plane, unless the source names a node: then it is on this computer.`,
		Args: exactArgs(2),
		RunE: func(c *cobra.Command, args []string) error { return a.cp(c.Context(), args[0], args[1]) },
	}
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

func (a *app) cp(ctx context.Context, from, to string) error {
	source, target := parsePlace(from), parsePlace(to)
	if !source.remote && !target.remote {
		target.remote = true
	}
	for _, p := range []place{source, target} {
		if p.remote && !strings.HasPrefix(p.path, "/") {
			return fail.New(fail.Usage, "%q is not an absolute path on a node", p.path)
		}
	}
	name, err := a.name()
	if err != nil {
		return err
	}
	in, mode, err := a.openSource(ctx, name, source)
	if err != nil {
		return err
	}
	defer in.Close()
	if target.remote {
		node, err := a.manager.Login(ctx, name, target.node)
		if err != nil {
			return err
		}
		defer node.Close()
		if strings.HasSuffix(target.path, "/") {
			target.path += path.Base(filepath.ToSlash(source.path))
		}
		return node.Put(ctx, target.path, mode, in)
	}
	if info, err := os.Stat(target.path); err == nil && info.IsDir() {
		target.path = filepath.Join(target.path, path.Base(source.path))
	}
	out, err := os.OpenFile(target.path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, mode)
	if err != nil {
		return fail.Wrap(fail.HostPermission, err, "write the copy")
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

// openSource opens a file here or on a node.
func (a *app) openSource(ctx context.Context, name string, p place) (io.ReadCloser, os.FileMode, error) {
	if !p.remote {
		f, err := os.Open(p.path)
		if err != nil {
			return nil, 0, fail.Wrap(fail.HostPermission, err, "read the source")
		}
		info, err := f.Stat()
		if err == nil && !info.Mode().IsRegular() {
			err = fail.New(fail.Usage, "%s is not a file", p.path).WithAdvice("for directories: tar c DIR | dory ssh -- tar x -C /target")
		}
		if err != nil {
			f.Close()
			return nil, 0, err
		}
		return f, info.Mode().Perm(), nil
	}
	node, err := a.manager.Login(ctx, name, p.node)
	if err != nil {
		return nil, 0, err
	}
	files, ok := node.(interface{ SFTP() (*sftp.Client, error) })
	if !ok {
		node.Close()
		return nil, 0, errors.New("the node has no SFTP")
	}
	client, err := files.SFTP()
	if err != nil {
		node.Close()
		return nil, 0, err
	}
	f, err := client.Open(p.path)
	if err != nil {
		node.Close()
		return nil, 0, fail.Wrap(fail.GuestCommand, err, "read %s on the node", p.path)
	}
	mode := os.FileMode(0o600)
	if info, err := f.Stat(); err == nil {
		mode = info.Mode().Perm()
	}
	return remoteFile{f, node}, mode, nil
}

// remoteFile closes its connection with itself.
type remoteFile struct {
	*sftp.File
	node cluster.Node
}

func (r remoteFile) Close() error { return errors.Join(r.File.Close(), r.node.Close()) }

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
