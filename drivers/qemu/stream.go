package qemu

import (
	"bufio"
	"bytes"
	endian "encoding/binary"
	"errors"
	"fmt"
	"io"
)

// A migration stream is what QEMU writes of a halted machine: a header, the sections of the memory, those of the devices.
// Loaded as a whole, it brings every page of memory through QEMU's main loop: seconds for a gigabyte. So the pages of the
// main memory are taken out of the stream on its way to the disk and put where they belong in a sparse file, which is
// mapped at the resume: that takes as long as a fork. QEMU lets pages be missing if x-ignore-shared is set at both ends.
//
// The format, of QEMU's migration/savevm.c and ram.c, numbers big-endian. It is the same from 2.4 on; anything
// unexpected is an error, and then the machine is not saved.
const (
	sectionStart   = 1 // id, name, instance, version; what follows is up to the section
	sectionPart    = 2 // id
	sectionEnd     = 3 // id
	streamCommand  = 8 // command and length, 16 bits each, and so many bytes
	sectionFooter  = 0x7e
	memoryZero     = 0x02 // one byte that fills the page
	memorySizes    = 0x04 // the blocks of memory: name, size, address
	memoryPage     = 0x08 // the page
	memoryEOS      = 0x10 // the section's end
	memoryContinue = 0x20 // a page of the same block as the last; otherwise its name comes first
	memoryFlags    = pageSize - 1
)

const (
	longestHeader = 64 << 10
	longestState  = 256 << 20 // of the devices and their own memory: less than 1 MiB on a machine like ours
)

// splitter takes a migration stream apart.
type splitter struct {
	in    *bufio.Reader
	state bytes.Buffer // the stream without the pages of the main memory
	size  int64        // of the main memory
	page  func(offset int64, page []byte) error

	section uint32 // the memory's
	main    string // the block that is the main memory
	block   string // of the last page
}

// splitStream reads a migration stream to its end, gives the pages of the main memory to page, and returns the rest.
// Pages of zeros that come before others are not given: memory is zeros at first.
func splitStream(stream io.Reader, size int64, page func(offset int64, page []byte) error) ([]byte, error) {
	s := &splitter{in: bufio.NewReaderSize(stream, chunk), size: size, page: page}
	if err := s.split(); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, fmt.Errorf("read the machine's state from QEMU: %w", err)
	}
	return s.state.Bytes(), nil
}

func (s *splitter) split() error {
	if err := s.header(); err != nil {
		return err
	}
	for {
		if err := s.memorySection(); err != nil {
			return err
		}
		kind, err := s.nextSection()
		if err != nil {
			return err
		}
		if kind == sectionEnd {
			break
		}
	}
	if err := s.memorySection(); err != nil {
		return err
	}
	_, err := io.Copy(&s.state, io.LimitReader(s.in, longestState))
	return err
}

// header copies everything before the memory's first section, which has id, "ram", instance 0 and version 4.
func (s *splitter) header() error {
	name := []byte("\x03ram\x00\x00\x00\x00\x00\x00\x00\x04")
	for s.state.Len() < longestHeader {
		b, err := s.in.ReadByte()
		if err != nil {
			return err
		}
		s.state.WriteByte(b)
		if so := s.state.Bytes(); b == 4 && bytes.HasSuffix(so, name) && len(so) > len(name)+5 {
			before := so[len(so)-len(name)-5:]
			if before[0] != sectionStart {
				break
			}
			s.section = endian.BigEndian.Uint32(before[1:])
			return nil
		}
	}
	return errors.New("it does not begin as expected")
}

// nextSection copies the beginning of the memory's next section.
func (s *splitter) nextSection() (kind byte, err error) {
	for {
		if kind, err = s.copyByte(); err != nil {
			return 0, err
		}
		switch kind {
		case sectionPart, sectionEnd:
			id, err := s.copyUint(4)
			if err == nil && uint32(id) != s.section {
				err = fmt.Errorf("a section %d between those of the memory", id)
			}
			return kind, err
		case streamCommand:
			head, err := s.copyUint(4)
			if err == nil {
				_, err = s.copy(int(head & 0xffff))
			}
			if err != nil {
				return 0, err
			}
		default:
			return 0, fmt.Errorf("a part of kind %d between those of the memory", kind)
		}
	}
}

// memorySection copies what is left of a section of the memory, but for pages of the main memory.
func (s *splitter) memorySection() error {
	for {
		head, err := s.in.Peek(8)
		if err != nil {
			return err
		}
		word := endian.BigEndian.Uint64(head)
		switch flags := word & memoryFlags; flags {
		case memoryEOS:
			_, err = s.copy(8)
			if err == nil {
				err = s.footer()
			}
			return err
		case memorySizes:
			s.copy(8)
			err = s.blocks(word &^ memoryFlags)
		case memoryPage, memoryZero, memoryPage | memoryContinue, memoryZero | memoryContinue:
			err = s.onePage(int64(word&^memoryFlags), flags)
		default:
			err = fmt.Errorf("a page with the flags %#x", flags)
		}
		if err != nil {
			return err
		}
	}
}

func (s *splitter) footer() error {
	mark, err := s.copy(5)
	if err == nil && (mark[0] != sectionFooter || endian.BigEndian.Uint32(mark[1:]) != s.section) {
		err = errors.New("a section of the memory without its end")
	}
	return err
}

// blocks copies the list of the blocks of memory and finds the main one.
func (s *splitter) blocks(total uint64) error {
	for total > 0 {
		length, err := s.copyByte()
		if err != nil {
			return err
		}
		name, err := s.copy(int(length))
		if err != nil {
			return err
		}
		size, err := s.copyUint(8)
		if err != nil {
			return err
		}
		if _, err := s.copyUint(8); err != nil { // where it is, which x-ignore-shared adds
			return err
		}
		if size == 0 || size > total {
			return fmt.Errorf("%d bytes of memory called %q", size, name)
		}
		total -= size
		if text := string(name); size == uint64(s.size) && (text == "mem" || text == "/objects/mem") {
			s.main = text
		}
	}
	if s.main == "" {
		return fmt.Errorf("no memory of %d bytes", s.size)
	}
	return nil
}

func (s *splitter) onePage(offset int64, flags uint64) error {
	head := 8
	if flags&memoryContinue == 0 {
		peeked, err := s.in.Peek(9)
		if err != nil {
			return err
		}
		head += 1 + int(peeked[8])
		if peeked, err = s.in.Peek(head); err != nil {
			return err
		}
		if name := peeked[9:]; string(name) != s.block {
			s.block = string(name)
		}
	}
	length := pageSize
	if flags&memoryZero != 0 {
		length = 1
	}
	if s.block != s.main {
		_, err := s.copy(head + length)
		return err
	}
	whole, err := s.in.Peek(head + length)
	if err != nil {
		return err
	}
	page := whole[head:]
	if length == 1 {
		if page[0] != 0 {
			return fmt.Errorf("a page of bytes %#x", page[0])
		}
		page = zeros[:pageSize]
	}
	if offset+pageSize > s.size {
		return fmt.Errorf("a page at %d of %d bytes of memory", offset, s.size)
	}
	if err := s.page(offset, page); err != nil {
		return err
	}
	_, err = s.in.Discard(head + length)
	return err
}

// copy copies n bytes of the stream, and returns them until the next call.
func (s *splitter) copy(n int) ([]byte, error) {
	peeked, err := s.in.Peek(n)
	if err != nil {
		return nil, err
	}
	if s.state.Len()+n > longestState {
		return nil, errors.New("it does not end")
	}
	before := s.state.Len()
	s.state.Write(peeked)
	s.in.Discard(n)
	return s.state.Bytes()[before:], nil
}

func (s *splitter) copyByte() (byte, error) {
	b, err := s.copy(1)
	if err != nil {
		return 0, err
	}
	return b[0], nil
}

func (s *splitter) copyUint(n int) (uint64, error) {
	b, err := s.copy(n)
	var v uint64
	for _, one := range b {
		v = v<<8 | uint64(one)
	}
	return v, err
}
