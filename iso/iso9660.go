package iso

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"unicode/utf16"
)

// A reader of ISO 9660 for the few small files that are taken out of images of our own making. It knows the Joliet tree
// (ECMA-119 with names in UTF-16), one extent per file. A library for file systems would bring ten modules with it.

const (
	sector     = 2048
	firstDesc  = 16 // sector of the first volume descriptor
	joliet     = 2  // type of a supplementary volume descriptor
	terminator = 255
	// largest is far above any file that is read here, and keeps a corrupted length from becoming an allocation.
	largest = 256 << 20
)

var errNotISO = errors.New("no ISO 9660 volume with a Joliet tree")

// extent is where a file or a directory lies.
type extent struct {
	block, size uint32
}

// readISO returns the content of a file, named by its path with slashes.
func readISO(r io.ReaderAt, path string) ([]byte, error) {
	at, err := rootDirectory(r)
	if err != nil {
		return nil, err
	}
	for name := range strings.SplitSeq(path, "/") {
		dir, err := at.read(r)
		if err != nil {
			return nil, err
		}
		if at, err = lookUp(dir, name); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
	}
	return at.read(r)
}

func (e extent) read(r io.ReaderAt) ([]byte, error) {
	if e.size > largest {
		return nil, fmt.Errorf("a file of %d bytes: %w", e.size, errNotISO)
	}
	content := make([]byte, e.size)
	if _, err := r.ReadAt(content, int64(e.block)*sector); err != nil {
		return nil, fmt.Errorf("read %d bytes at block %d: %w", e.size, e.block, err)
	}
	return content, nil
}

// rootDirectory finds the Joliet volume descriptor (ECMA-119, 8.5) and in it the root directory's record.
func rootDirectory(r io.ReaderAt) (extent, error) {
	var desc [sector]byte
	for i := int64(firstDesc); i < firstDesc+16; i++ {
		if _, err := r.ReadAt(desc[:], i*sector); err != nil || string(desc[1:6]) != "CD001" || desc[0] == terminator {
			break
		}
		if desc[0] == joliet && desc[88] == '%' && desc[89] == '/' {
			return record(desc[156:]).extent(), nil
		}
	}
	return extent{}, errNotISO
}

// record is a directory record (ECMA-119, 9.1); it has at least 33 bytes.
type record []byte

func (d record) extent() extent {
	return extent{block: binary.LittleEndian.Uint32(d[2:]), size: binary.LittleEndian.Uint32(d[10:])}
}

func (d record) name() string {
	raw := d[33 : 33+int(d[32])]
	units := make([]uint16, len(raw)/2)
	for i := range units {
		units[i] = binary.BigEndian.Uint16(raw[2*i:])
	}
	name, _, _ := strings.Cut(string(utf16.Decode(units)), ";") // a version number may follow
	return name
}

// lookUp finds a name in a directory's content. Records do not cross sectors; zeros fill the rest of one.
func lookUp(dir []byte, name string) (extent, error) {
	for len(dir) > 0 {
		n := int(dir[0])
		if n == 0 {
			dir = dir[min(len(dir), (len(dir)-1)%sector+1):]
			continue
		}
		if n < 34 || n > len(dir) || 33+int(dir[32]) > n {
			return extent{}, errNotISO
		}
		if d := record(dir[:n]); d.name() == name {
			return d.extent(), nil
		}
		dir = dir[n:]
	}
	return extent{}, fs.ErrNotExist
}
