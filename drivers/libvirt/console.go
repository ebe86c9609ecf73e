package libvirt

import (
	"bytes"
	"context"
	"io"
	"io/fs"

	"github.com/dorykube/dory/drivers"
)

// Console returns what virtlogd has written of the machine's serial console. Beyond 2 MiB it begins anew.
func (d *Driver) Console(ctx context.Context, m drivers.Machine) (io.ReadCloser, error) {
	content, err := ask(ctx, d, m.URI, "read the console of machine "+m.Name, commandLimit, func(c *conversation) ([]byte, error) {
		pool, err := d.wokenPool(c)
		if err != nil {
			return nil, err
		}
		volume, err := c.store.StorageVolLookupByName(pool, machineVolume(m, consoleRole))
		if err != nil {
			return nil, err
		}
		return readVolume(c, volume)
	})
	if notFound(err) {
		return nil, fs.ErrNotExist
	}
	if err != nil {
		return nil, err
	}
	return io.NopCloser(bytes.NewReader(content)), nil
}
