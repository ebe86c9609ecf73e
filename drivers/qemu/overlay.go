package qemu

import (
	"bytes"
	endian "encoding/binary"
	"fmt"
	"os"
)

// A fork's data disk is an overlay of the frozen one in QEMU's format qcow2: its header, a table of references and a
// first-level table are all that an empty one has. They are written here: qemu-img is a package of its own in Debian, and a
// process more per fork. The format: docs/interop/qcow2.txt in QEMU's source.
//
// The base is a second name of the frozen disk in the machine's own directory, so that the frozen machine may be deleted.
const (
	overlayCluster = 64 << 10 // bytes; QEMU's default
	// One cluster of first-level table has room for a disk of 4 TiB: an overlay then grows by one number in its header.
	overlayL1      = overlayCluster / 8
	overlayLargest = overlayL1 * (overlayCluster / 8) * overlayCluster
)

// qcow2Header is version 3's, and after it what else comes before the backing file's name.
type qcow2Header struct {
	Magic                 [4]byte
	Version               uint32
	BackingOffset         uint64
	BackingSize           uint32
	ClusterBits           uint32
	Size                  uint64 // of the disk
	CryptMethod           uint32
	L1Size                uint32 // entries
	L1Offset              uint64
	RefcountOffset        uint64
	RefcountClusters      uint32
	Snapshots             uint32
	SnapshotsOffset       uint64
	Incompatible          uint64
	Compatible            uint64
	Autoclear             uint64
	RefcountOrder         uint32
	HeaderLength          uint32
	Format, FormatLength  uint32  // an extension: the backing file's format
	FormatName            [8]byte // padded
	EndOfExtensions, Zero uint32
}

const (
	qcow2SizeAt     = 24 // of the field Size
	qcow2FormatName = 0xe2792aca
)

// emptyOverlay is the content of an overlay that has nothing of its own yet: a cluster each of header, references to
// references, references and first-level table.
func emptyOverlay(size int64) []byte {
	h := qcow2Header{
		Magic: [4]byte{'Q', 'F', 'I', 0xfb}, Version: 3,
		BackingSize: uint32(len(baseFile)), ClusterBits: 16, Size: uint64(size),
		RefcountOffset: overlayCluster, RefcountClusters: 1,
		L1Size: overlayL1, L1Offset: 3 * overlayCluster,
		RefcountOrder: 4, HeaderLength: 104,
		Format: qcow2FormatName, FormatLength: 3, FormatName: [8]byte{'r', 'a', 'w'},
	}
	h.BackingOffset = uint64(endian.Size(h))
	var b bytes.Buffer
	endian.Write(&b, endian.BigEndian, h)
	b.WriteString(baseFile)
	image := make([]byte, 4*overlayCluster)
	copy(image, b.Bytes())
	endian.BigEndian.PutUint64(image[overlayCluster:], 2*overlayCluster)
	for cluster := range 4 {
		endian.BigEndian.PutUint16(image[2*overlayCluster+2*cluster:], 1) // used once
	}
	return image
}

// makeOverlay makes the overlay of the machine's directory, whole or not at all.
func (dir machineDir) makeOverlay(size int64) error {
	if size > overlayLargest {
		return fmt.Errorf("a disk of %d GiB is too large for a fork", size>>30)
	}
	temp := dir.path(overlayFile + tempSuffix)
	if err := os.WriteFile(temp, emptyOverlay(size), 0o600); err != nil {
		return err
	}
	return os.Rename(temp, dir.path(overlayFile))
}

// growOverlay makes an overlay's disk larger. It never shrinks one.
func growOverlay(path string, size int64) error {
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer file.Close()
	var field [8]byte
	if _, err := file.ReadAt(field[:], qcow2SizeAt); err != nil {
		return err
	}
	if endian.BigEndian.Uint64(field[:]) >= uint64(size) {
		return nil
	}
	if size > overlayLargest {
		return fmt.Errorf("a fork's disk cannot grow to %d GiB", size>>30)
	}
	endian.BigEndian.PutUint64(field[:], uint64(size))
	if _, err := file.WriteAt(field[:], qcow2SizeAt); err != nil {
		return err
	}
	return file.Close()
}
