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
	"github.com/dorykube/dory/internal/progress"
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
	in, info, err := a.openSource(ctx, name, source)
	if err != nil {
		return err
	}
	defer in.Close()
	return a.watched(ctx, progress.Step{Name: "copy", Title: "Copying"}, func(ctx context.Context) error {
		what := progress.Transfer{Name: path.Base(filepath.ToSlash(source.path)), Title: "Copying file"}
		if info != nil {
			what.Total = info.Size()
		}
		return a.copyTo(ctx, name, target, in, mode(info), what)
	})
}

// copyTo writes a file here or on a node; target names a file, or a directory.
func (a *app) copyTo(ctx context.Context, cluster string, target place, in io.Reader, mode os.FileMode, what progress.Transfer) error {
	if target.remote {
		node, err := a.manager.Login(ctx, cluster, target.node)
		if err != nil {
			return err
		}
		defer node.Close()
		if strings.HasSuffix(target.path, "/") {
			target.path += what.Name
		}
		return node.Put(ctx, target.path, mode, progress.Reader(ctx, in, what))
	}
	if info, err := os.Stat(target.path); err == nil && info.IsDir() {
		target.path = filepath.Join(target.path, what.Name)
	}
	out, err := os.OpenFile(target.path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, mode)
	if err != nil {
		return fail.Wrap(fail.HostPermission, err, "write the copy")
	}
	counter := progress.Count(ctx, what)
	_, err = io.Copy(io.MultiWriter(out, counter), in) // in that order SFTP asks for several parts at once
	return errors.Join(err, out.Close())
}

// mode is that of the copy of a file of which info may not be known.
func mode(info os.FileInfo) os.FileMode {
	if info == nil {
		return 0o600
	}
	return info.Mode().Perm()
}

// openSource opens a file here or on a node. A node may not tell its info, which is nil then.
func (a *app) openSource(ctx context.Context, name string, p place) (io.ReadCloser, os.FileInfo, error) {
	if !p.remote {
		f, err := os.Open(p.path)
		if err != nil {
			return nil, nil, fail.Wrap(fail.HostPermission, err, "read the source")
		}
		info, err := f.Stat()
		if err == nil && !info.Mode().IsRegular() {
			err = fail.New(fail.Usage, "%s is not a file", p.path).WithAdvice("for directories: tar c DIR | dory ssh -- tar x -C /target")
		}
		if err != nil {
			f.Close()
			return nil, nil, err
		}
		return f, info, nil
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
	f, err := client.Open(p.path)
	if err != nil {
		node.Close()
		return nil, nil, fail.Wrap(fail.GuestCommand, err, "read %s on the node", p.path)
	}
	info, err := f.Stat()
	if err != nil {
		info = nil
	}
	return remoteFile{f, node}, info, nil
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
