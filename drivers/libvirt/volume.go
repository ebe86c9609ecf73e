package libvirt

import (
	"bytes"
	"fmt"
	"os"
	"strings"

	libvirt "github.com/digitalocean/go-libvirt"
	"github.com/dorykube/dory/drivers"
	"github.com/dorykube/dory/internal/progress"
)

// Volumes are called "dory-" and either the machine's UUID and a role, or a role and a digest: those are shared by all
// machines that are made of them, and go with the last.
const volumePrefix = "dory-"

const (
	dataRole    = "data.raw"
	consoleRole = "console.log"
)

func machineVolume(m drivers.Machine, role string) string { return machinePrefix(m.UUID) + role }
func machinePrefix(uuid string) string                    { return volumePrefix + uuid + "-" }
func sharedVolume(role, digest string) string             { return volumePrefix + role + "-" + digest[:32] }

// createVolume makes a volume in the pool, with nothing in it; one that is there is returned as it is.
func createVolume(c *conversation, pool libvirt.StoragePool, name string, capacity int64) (libvirt.StorageVol, error) {
	volume, err := c.store.StorageVolLookupByName(pool, name)
	if !notFound(err) {
		return volume, err
	}
	data := struct {
		Name     string
		Capacity int64
	}{name, capacity}
	volume, err = c.store.StorageVolCreateXML(pool, render("volume.xml", data), 0)
	if err != nil && (is(err, libvirt.ErrStorageVolExist) || strings.Contains(err.Error(), "exist")) {
		// A daemon that was restarted, or a file that it has not seen yet.
		if err := c.store.StoragePoolRefresh(pool, 0); err != nil {
			return volume, err
		}
		return c.store.StorageVolLookupByName(pool, name)
	}
	return volume, err
}

// upload puts a file into the pool, once for all machines. A volume begins empty and grows: as long as it is smaller than the
// file, not all of it is there. libvirt lets only one at a time fill it; the others are told that they are early (busy). what is
// the file for people.
func upload(c *conversation, pool libvirt.StoragePool, name, file, what string) error {
	f, err := os.Open(file)
	if err != nil {
		return hostError(err, "put "+file+" into libvirt's storage pool")
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	size := uint64(info.Size())
	volume, err := createVolume(c, pool, name, 0)
	if err != nil {
		return fmt.Errorf("make volume %s: %w", name, err)
	}
	_, capacity, _, err := c.store.StorageVolGetInfo(volume)
	if err != nil || capacity == size {
		return err
	}
	own, err := c.stream()
	if err != nil {
		return err
	}
	counted := progress.Reader(c.ctx, f, progress.Transfer{Name: strings.ReplaceAll(what, " ", "-"), Title: "Uploading " + what, Total: info.Size()})
	if err := own.StorageVolUpload(volume, counted, 0, size, 0); err != nil {
		return fmt.Errorf("fill volume %s: %w", name, err)
	}
	return nil
}

// makeDisk makes the machine's data disk, or grows it. It never shrinks or empties one.
func makeDisk(c *conversation, pool libvirt.StoragePool, m drivers.Machine) error {
	volume, err := createVolume(c, pool, machineVolume(m, dataRole), m.Disk)
	if err != nil {
		return fmt.Errorf("make the disk: %w", err)
	}
	_, capacity, _, err := c.store.StorageVolGetInfo(volume)
	if err == nil && capacity < uint64(m.Disk) {
		err = c.store.StorageVolResize(volume, uint64(m.Disk), 0)
	}
	return err
}

// appendConsole writes a line into the machine's console log.
func appendConsole(c *conversation, pool libvirt.StoragePool, m drivers.Machine, line string) error {
	volume, err := createVolume(c, pool, machineVolume(m, consoleRole), 0)
	if err != nil {
		return fmt.Errorf("make the console's log: %w", err)
	}
	_, size, _, err := c.store.StorageVolGetInfo(volume)
	if err != nil {
		return err
	}
	own, err := c.stream()
	if err != nil {
		return err
	}
	return own.StorageVolUpload(volume, strings.NewReader(line), size, uint64(len(line)), 0)
}

// readVolume returns what is in a volume. Once in hundreds of times, libvirtd 9.0 ended the stream without an error and without what
// was in the file: what has come short is read again.
func readVolume(c *conversation, volume libvirt.StorageVol) ([]byte, error) {
	_, size, _, err := c.store.StorageVolGetInfo(volume)
	if err != nil {
		return nil, err
	}
	for again := 0; ; again++ {
		own, err := c.stream()
		if err != nil {
			return nil, err
		}
		var content bytes.Buffer
		err = own.StorageVolDownload(volume, &content, 0, 0, 0)
		if err != nil || uint64(content.Len()) >= size || again == 2 { // the file may have become shorter meanwhile
			return content.Bytes(), err
		}
	}
}
