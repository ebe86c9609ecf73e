package qemu

import (
	"bytes"
	"context"
	endian "encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"os"

	"github.com/dorykube/dory/drivers"
	"github.com/dorykube/dory/internal/fail"
	"github.com/dorykube/dory/internal/hostinfo"
	"github.com/dorykube/dory/internal/progress"
)

const (
	// pageSize is the guest's: QEMU's stream has memory in such pages.
	pageSize = 4096
	// chunk is how much of a file is read or written at once.
	chunk = 1 << 20
)

var zeros [chunk]byte

func wholeRest(offset, size int64) (from, to int64, err error) {
	if offset >= size {
		return 0, 0, io.EOF
	}
	return offset, size, nil
}

// checksum is a CRC over the pages that are not all zeros, and where they are. Holes make no difference, so that it can be
// had from a stream of pages as well as from a sparse file. It finds damage, not malice.
type checksum uint32

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func (c *checksum) add(offset int64, page []byte) {
	var where [8]byte
	endian.LittleEndian.PutUint64(where[:], uint64(offset))
	*c = checksum(crc32.Update(crc32.Update(uint32(*c), castagnoli, where[:]), castagnoli, page))
}

// sumFile is the checksum of the pages of a machine's memory. Of a gigabyte that is not in the page cache, it takes a while.
func sumFile(ctx context.Context, path string) (sum checksum, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return 0, err
	}
	seen := progress.Count(ctx, progress.Transfer{Name: "memory-checksum", Title: "Reading memory", Total: info.Size()})
	err = eachChunk(path, func(offset int64, content []byte) error {
		seen.Reach(offset)
		for start := 0; start < len(content); start += pageSize {
			page := content[start:min(start+pageSize, len(content))]
			if !bytes.Equal(page, zeros[:len(page)]) {
				sum.add(offset+int64(start), page)
			}
		}
		return nil
	})
	if err == nil {
		seen.End() // there may be a hole at the end
	}
	return sum, err
}

// eachChunk reads a file in chunks that begin at page boundaries, leaving out its holes.
func eachChunk(path string, use func(offset int64, content []byte) error) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	buffer := make([]byte, chunk)
	for at := int64(0); ; {
		from, to, err := nextData(file, at, info.Size())
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		from = max(at, from&^(pageSize-1))
		for from < to {
			n, err := file.ReadAt(buffer[:min(chunk, info.Size()-from)], from)
			if err != nil && !(errors.Is(err, io.EOF) && n > 0) {
				return err
			}
			if err := use(from, buffer[:n]); err != nil {
				return err
			}
			from += int64(n)
		}
		at = from
	}
}

// linkOrCopy gives the file a second name; on a file system or between two that cannot, it makes a sparse copy.
func linkOrCopy(from, to string) error {
	if os.Link(from, to) == nil {
		return nil
	}
	return copySparse(from, to)
}

func copySparse(from, to string) error {
	info, err := os.Stat(from)
	if err != nil {
		return err
	}
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	err = out.Truncate(info.Size())
	if err == nil {
		err = eachChunk(from, func(offset int64, content []byte) error {
			if bytes.Equal(content, zeros[:len(content)]) {
				return nil
			}
			_, err := out.WriteAt(content, offset)
			return err
		})
	}
	if err = errors.Join(err, out.Close()); err != nil {
		os.Remove(to)
	}
	return err
}

// emptyFile makes a file of zeros that takes no space yet, in place of an older one.
func emptyFile(path string, size int64) (*os.File, error) {
	if err := removeFile(path); err != nil { // not emptied: somebody may still have the old one mapped
		return nil, err
	}
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	if err := file.Truncate(size); err != nil {
		file.Close()
		os.Remove(path)
		return nil, err
	}
	return file, nil
}

// requireRoom refuses a machine that is to be frozen later where there is no room for its memory: that would be found out minutes
// later.
func requireRoom(m drivers.Machine) error {
	if free, err := hostinfo.FreeSpace(m.Dir); err == nil && int64(free) < m.Memory {
		return fail.New(fail.DiskTooMuch, "freeze machine %s later: %d MiB are free at %s, its memory may need %d", m.Name, free>>20, m.Dir, m.Memory>>20)
	}
	return nil
}
