package libvirt

import (
	"encoding/xml"
	"errors"
	"path"
	"path/filepath"
	"strings"

	libvirt "github.com/digitalocean/go-libvirt"

	"github.com/adrg/xdg"
	"github.com/dorykube/dory/internal/fail"
)

// poolName is the storage pool's that has all that machines are made of. Pools bear no mark: this one is known as dory's by
// its name and its directory, and nothing in it is touched that is not called "dory-".
const poolName = "dory"

// systemPool is the pool's directory of the system's daemon. A home directory would not do: QEMU is somebody else there, and
// would need rights on every directory on the way.
const systemPool = "/var/lib/libvirt/dory"

// poolPath is the directory of the pool.
func (d *Driver) poolPath(at place) string {
	switch {
	case !at.session:
		return systemPool
	case d.options.SessionPool != "":
		return d.options.SessionPool
	default:
		return filepath.Join(xdg.DataHome, "dory-libvirt") // one directory, which goes with the pool
	}
}

// findPool returns dory's pool; the error is one of notFound if there is none.
func (d *Driver) findPool(c *conversation) (libvirt.StoragePool, error) {
	pool, err := c.store.StoragePoolLookupByName(poolName)
	if err != nil {
		return pool, err
	}
	definition, err := c.store.StoragePoolGetXMLDesc(pool, 0)
	if err != nil {
		return pool, err
	}
	var is struct {
		Type string `xml:"type,attr"`
		Path string `xml:"target>path"`
	}
	if err := xml.Unmarshal([]byte(definition), &is); err != nil {
		return pool, err
	}
	if want := d.poolPath(c.at); is.Type != "dir" || path.Clean(is.Path) != path.Clean(want) {
		return pool, fail.New(fail.LibvirtTaken, "libvirt has a storage pool %q that dory did not make: it is of type %s at %q, not a directory at %s",
			poolName, is.Type, is.Path, want)
	}
	return pool, nil
}

// pool returns dory's pool, which is made if there is none, and woken if it sleeps.
func (d *Driver) pool(c *conversation) (libvirt.StoragePool, error) {
	pool, err := d.findPool(c)
	if notFound(err) {
		data := struct{ Name, Path string }{poolName, d.poolPath(c.at)}
		if pool, err = c.store.StoragePoolDefineXML(render("pool.xml", data), 0); err != nil {
			if other, again := d.findPool(c); again == nil { // somebody was faster
				pool, err = other, nil
			} else if strings.Contains(err.Error(), "conflict") || strings.Contains(err.Error(), "already") {
				err = fail.Wrap(fail.LibvirtTaken, err, "make the storage pool %q", poolName)
			}
		}
	}
	if err != nil {
		return pool, err
	}
	return pool, wakePool(c, pool)
}

// wokenPool is findPool, and wakes what it finds: pools sleep after the computer was restarted.
func (d *Driver) wokenPool(c *conversation) (libvirt.StoragePool, error) {
	pool, err := d.findPool(c)
	if err != nil {
		return pool, err
	}
	return pool, wakePool(c, pool)
}

func wakePool(c *conversation, pool libvirt.StoragePool) error {
	state, _, _, _, err := c.store.StoragePoolGetInfo(pool)
	if err != nil || state == uint8(libvirt.StoragePoolRunning) {
		return err
	}
	// Makes the directory if it is not there; what is there stays.
	err = c.store.StoragePoolBuild(pool, 0)
	if create := c.store.StoragePoolCreate(pool, 0); create != nil && !is(create, libvirt.ErrOperationInvalid) { // it runs already
		return errors.Join(create, err)
	}
	return nil
}

// dropPool removes the pool when nothing is in it. Failing, it is somebody else's turn.
func (d *Driver) dropPool(c *conversation, pool libvirt.StoragePool) {
	volumes, _, err := c.store.StoragePoolListAllVolumes(pool, 1, 0)
	if err != nil || len(volumes) > 0 {
		return
	}
	if err := c.store.StoragePoolDestroy(pool); err != nil {
		d.options.Log.Debug("the storage pool stays", "err", err)
		return
	}
	if err := c.store.StoragePoolDelete(pool, 0); err != nil { // the directory, which is not empty if others put something there
		d.options.Log.Debug("the storage pool's directory stays", "err", err)
	}
	if err := c.store.StoragePoolUndefine(pool); err != nil {
		d.options.Log.Debug("the storage pool stays", "err", err)
	}
}
