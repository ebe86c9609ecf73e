package libvirt

import (
	"context"
	"os"
	"path/filepath"
	"strings"

	"github.com/dorykube/dory/drivers"
	"github.com/dorykube/dory/internal/fail"
)

// Owned are the machines that libvirt has of a directory and of those below it: by their marks, whether or not anything is
// left in them. Of a machine, only what Delete needs is filled in.
func (d *Driver) Owned(ctx context.Context, dir string) (found []drivers.Machine, err error) {
	at, err := parse(d.options.URI)
	if err != nil || at.session && at.local() && !exists(at.socketPath(domains)) && !exists(at.socketPath(monolith)) {
		return nil, err // a user's own daemon is not started for this
	}
	found, err = ask(ctx, d, d.options.URI, "look for machines of "+dir, commandLimit, func(c *conversation) (found []drivers.Machine, err error) {
		marks, err := marked(c)
		seen := map[string]bool{}
		for _, is := range marks {
			if !within(dir, is.Dir) || seen[is.UUID] {
				continue
			}
			seen[is.UUID] = true
			found = append(found, drivers.Machine{Name: is.Name, UUID: is.UUID, Dir: is.Dir, URI: d.options.URI})
		}
		return found, err
	})
	if fail.Is(err, fail.LibvirtMissing) || fail.Is(err, fail.LibvirtDenied) {
		return nil, nil // so nothing was made there
	}
	return found, err
}

func within(dir, path string) bool {
	return path == dir || strings.HasPrefix(path, dir+string(filepath.Separator))
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// marked are the marks of everything that bears one.
func marked(c *conversation) (marks []mark, err error) {
	all, _, err := c.ConnectListAllDomains(1, 0)
	if err != nil {
		return nil, err
	}
	for _, dom := range all {
		is, ok, err := markOn(c, dom)
		if err = ignore(err); err != nil {
			return nil, err
		}
		if ok {
			marks = append(marks, is)
		}
	}
	if c.nets == nil {
		return marks, nil
	}
	nets, _, err := c.nets.ConnectListAllNetworks(1, 0)
	if err != nil {
		return nil, err
	}
	for _, n := range nets {
		definition, err := c.nets.NetworkGetXMLDesc(n, 0)
		if err = ignore(err); err != nil {
			return nil, err
		}
		if is, ok := readMark(definition); ok {
			marks = append(marks, is)
		}
	}
	return marks, nil
}
