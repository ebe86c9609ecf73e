// Package isotest makes node images that boot nothing, for tests of what reads them.
package isotest

import (
	"encoding/binary"
	"strings"
	"unicode/utf16"
)

// Of ECMA-119, in blocks of 2048 bytes: where descriptors begin, and their types. Names are in UTF-16, as Joliet has them.
const (
	sector     = 2048
	firstDesc  = 16
	joliet     = 2
	terminator = 255
)

// extent is where a file lies.
type extent struct{ block, size uint32 }

// Image is a node image for tests: the files that package iso reads, with the smallest directory tree around them. facts is its
// dory.json.
func Image(facts string) []byte {
	blocks := make([]byte, 18*sector)
	file := func(content []byte) extent {
		e := extent{block: uint32(len(blocks) / sector), size: uint32(len(content))}
		blocks = append(blocks, content...)
		blocks = append(blocks, make([]byte, (sector-len(blocks)%sector)%sector)...)
		return e
	}
	boot := file(directory(map[string]extent{
		"vmlinuz": file([]byte("kernel")),
		"initrd":  file([]byte(strings.Repeat("initrd", 1000))),
		"cmdline": file([]byte("quiet\n")),
	}))
	root := file(directory(map[string]extent{
		"boot":      boot,
		"dory.json": file([]byte(facts)),
	}))
	desc := blocks[firstDesc*sector:]
	desc[0] = joliet
	copy(desc[1:], "CD001")
	copy(desc[88:], "%/E")
	copy(desc[156:], entry("", root))
	desc[sector] = terminator
	copy(desc[sector+1:], "CD001")
	return blocks
}

func entry(name string, e extent) []byte {
	raw := make([]byte, 33, 128)
	binary.LittleEndian.PutUint32(raw[2:], e.block)
	binary.LittleEndian.PutUint32(raw[10:], e.size)
	for _, u := range utf16.Encode([]rune(name)) {
		raw = binary.BigEndian.AppendUint16(raw, u)
	}
	raw[32] = byte(len(raw) - 33)
	if len(raw) == 33 {
		raw = append(raw, 0)
		raw[32] = 1
	}
	raw[0] = byte(len(raw))
	return raw
}

// directory leaves a gap at the end of its first sector, as real ones do, and goes on in a second.
func directory(files map[string]extent) []byte {
	dir := make([]byte, 0, 2*sector)
	dir = append(dir, entry("", extent{})...)
	dir = append(dir, make([]byte, sector-len(dir))...)
	for name, e := range files {
		dir = append(dir, entry(name+";1", e)...)
	}
	return append(dir, make([]byte, 2*sector-len(dir))...)
}
