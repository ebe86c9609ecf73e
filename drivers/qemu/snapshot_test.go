package qemu

import (
	"bytes"
	endian "encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
)

// stream is a migration stream as QEMU writes it.
type stream struct{ bytes.Buffer }

func (s *stream) put(values ...any) *stream {
	for _, v := range values {
		switch v := v.(type) {
		case string:
			s.WriteByte(byte(len(v)))
			s.WriteString(v)
		case []byte:
			s.Write(v)
		default:
			endian.Write(s, endian.BigEndian, v)
		}
	}
	return s
}

const streamSection = 2

func (s *stream) begin(size int64) *stream {
	s.put([]byte("QEVM"), uint32(3), byte(7), []byte("configuration"), byte(1)) // a byte of the header that begins a section
	s.put(byte(sectionStart), uint32(streamSection), "ram", uint32(0), uint32(4))
	s.put(uint64(size+2*pageSize)|memorySizes, "mem", uint64(size), uint64(0), "pc.bios", uint64(2*pageSize), uint64(0xfffc0000))
	return s.eos()
}

func (s *stream) eos() *stream {
	return s.put(uint64(memoryEOS), byte(sectionFooter), uint32(streamSection))
}

func (s *stream) part(kind byte) *stream { return s.put(kind, uint32(streamSection)) }

func pageOf(b byte) []byte { return bytes.Repeat([]byte{b}, pageSize) }

func TestSplitStream(t *testing.T) {
	const size = 16 * pageSize
	whole, rest := &stream{}, &stream{}
	both := func(put func(*stream)) { put(whole); put(rest) }
	both(func(s *stream) { s.begin(size).part(sectionPart) })
	whole.put(uint64(0|memoryPage), "mem", pageOf(1))
	whole.put(uint64(pageSize|memoryPage|memoryContinue), pageOf(2))
	whole.put(uint64(2*pageSize|memoryZero|memoryContinue), byte(0))
	both(func(s *stream) {
		s.put(uint64(0|memoryPage), "pc.bios", pageOf(8), uint64(pageSize|memoryZero|memoryContinue), byte(0)).eos()
		s.put(byte(streamCommand), uint16(11), uint16(3), []byte("xyz"))
		s.part(sectionEnd)
	})
	whole.put(uint64(9*pageSize|memoryPage), "mem", pageOf(3))
	both(func(s *stream) {
		s.eos().put(byte(4), uint32(7), "timer", uint32(0), uint32(2), bytes.Repeat([]byte{sectionEnd}, 3*chunk), byte(0))
	})
	file, err := emptyFile(filepath.Join(t.TempDir(), "memory"), size)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	w := &memoryWriter{file: file}
	state, err := splitStream(bytes.NewReader(whole.Bytes()), size, w.page)
	if err = errors.Join(err, w.flush()); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(state, rest.Bytes()) {
		t.Errorf("the state has %d bytes, want %d", len(state), rest.Len())
	}
	memory, _ := os.ReadFile(file.Name())
	want := make([]byte, size)
	copy(want, pageOf(1))
	copy(want[pageSize:], pageOf(2))
	copy(want[9*pageSize:], pageOf(3))
	if !bytes.Equal(memory, want) {
		t.Error("the memory is not what it was")
	}
	if sum, err := sumFile(t.Context(), file.Name()); err != nil || sum != w.sum || w.again {
		t.Errorf("checksum %x, %v; while writing %x", sum, err, w.sum)
	}
	for n := range rest.Len() - 3*chunk - 20 { // cut off anywhere
		if _, err := splitStream(bytes.NewReader(rest.Bytes()[:n]), size, w.page); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatalf("a stream of %d bytes: %v", n, err)
		}
	}
}

func TestSplitStreamRefuses(t *testing.T) {
	const size = 4 * pageSize
	begun := func() *stream { return new(stream).begin(size).part(sectionPart) }
	for name, s := range map[string]*stream{
		"nothing":         {},
		"other":           new(stream).put(bytes.Repeat([]byte("SSH-2.0"), 20000)),
		"other size":      new(stream).begin(2 * size).part(sectionEnd).eos(),
		"compressed":      begun().put(uint64(0x100|memoryPage), "mem", pageOf(1)),
		"beyond":          begun().put(uint64(size|memoryPage), "mem", pageOf(1)),
		"odd zeros":       begun().put(uint64(memoryZero), "mem", byte(7)),
		"unended section": begun().put(uint64(memoryEOS), byte(1), uint32(streamSection)),
		"other section":   begun().eos().put(byte(sectionPart), uint32(9)),
		"other kind":      begun().eos().put(byte(9)),
	} {
		if _, err := splitStream(s, size, func(int64, []byte) error { return nil }); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	full := errors.New("full")
	s := begun().put(uint64(memoryPage), "mem", pageOf(1))
	if _, err := splitStream(s, size, func(int64, []byte) error { return full }); !errors.Is(err, full) {
		t.Errorf("a page that is refused: %v", err)
	}
}

// Pages that come again, and in any order: the last counts.
func TestMemoryWriter(t *testing.T) {
	path := filepath.Join(t.TempDir(), "memory")
	file, err := emptyFile(path, 8*pageSize)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	w := &memoryWriter{file: file}
	for _, p := range []struct {
		number int64
		fill   byte
	}{{5, 1}, {6, 2}, {1, 3}, {7, 4}, {5, 0}, {3, 0}} {
		if err := w.page(p.number*pageSize, pageOf(p.fill)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.flush(); err != nil || !w.again {
		t.Errorf("flush: %v, again %v", err, w.again)
	}
	content, _ := os.ReadFile(path)
	got := ""
	for i := range 8 {
		got += fmt.Sprint(content[i*pageSize])
	}
	if got != "03000024" {
		t.Errorf("pages %s", got)
	}
}

func TestSnapshotThatIsDamaged(t *testing.T) {
	make := func(t *testing.T) snapshotFiles {
		f := frozenFiles(t.TempDir())
		memory := bytes.Join([][]byte{pageOf(0), pageOf(1), pageOf(0)}, nil)
		s := snapshot{state: []byte("state"), Key: "key"}
		err := os.WriteFile(f.dir.path(f.memory), memory, 0o600)
		if err == nil {
			s.Memory.Size = int64(len(memory))
			s.Memory.Sum, err = sumFile(t.Context(), f.dir.path(f.memory))
		}
		if err = errors.Join(err, f.writeState(&s), f.describe(s)); err != nil {
			t.Fatal(err)
		}
		return f
	}
	f := make(t)
	if s, err := f.read(t.Context()); err != nil || string(s.state) != "state" || s.Key != "key" {
		t.Errorf("read: %+v, %v", s, err)
	}
	restarted := func(f snapshotFiles) error {
		var s snapshot
		err := f.dir.readJSON(f.meta, &s)
		s.HostBoot = "an earlier one"
		return errors.Join(err, f.dir.writeJSON(f.meta, s))
	}
	if err := restarted(f); err != nil {
		t.Fatal(err)
	}
	if s, err := f.read(t.Context()); err != nil || s.HostBoot != bootID() {
		t.Errorf("read after a restart: %+v, %v", s, err)
	}
	for name, damage := range map[string]func(snapshotFiles) error{
		"no state":     func(f snapshotFiles) error { return os.Remove(f.dir.path(f.state)) },
		"other state":  func(f snapshotFiles) error { return os.WriteFile(f.dir.path(f.state), []byte("stale"), 0o600) },
		"short memory": func(f snapshotFiles) error { return os.Truncate(f.dir.path(f.memory), pageSize) },
		"no memory":    func(f snapshotFiles) error { return os.Remove(f.dir.path(f.memory)) },
		"garbled":      func(f snapshotFiles) error { return os.WriteFile(f.dir.path(f.meta), []byte(`{"key`), 0o600) },
		"power cut": func(f snapshotFiles) error {
			return errors.Join(os.WriteFile(f.dir.path(f.memory), bytes.Repeat(pageOf(0), 3), 0o600), restarted(f))
		},
	} {
		f := make(t)
		if err := damage(f); err != nil {
			t.Fatal(err)
		}
		if _, err := f.read(t.Context()); err == nil {
			t.Errorf("%s: no error", name)
		}
		if err := f.remove(); err != nil || f.exist() {
			t.Errorf("%s: remove: %v", name, err)
		}
	}
}

func TestLinkOrCopy(t *testing.T) {
	dir := t.TempDir()
	from := filepath.Join(dir, "from")
	file, err := emptyFile(from, 3*chunk+100)
	if err != nil {
		t.Fatal(err)
	}
	if _, err = file.WriteAt([]byte("middle"), chunk+chunk/2); err == nil {
		_, err = file.WriteAt([]byte("end"), 3*chunk+97)
	}
	if err = errors.Join(err, file.Close()); err != nil {
		t.Fatal(err)
	}
	to := filepath.Join(dir, "to")
	if err := linkOrCopy(from, to); err != nil {
		t.Fatal(err)
	}
	a, _ := os.Stat(from)
	if b, err := os.Stat(to); err != nil || !os.SameFile(a, b) {
		t.Errorf("no link: %v", err)
	}
	copied := filepath.Join(dir, "copied")
	if err := copySparse(from, copied); err != nil {
		t.Fatal(err)
	}
	want, _ := os.ReadFile(from)
	if got, err := os.ReadFile(copied); err != nil || !bytes.Equal(got, want) {
		t.Errorf("the copy differs: %v", err)
	}
}

func TestOverlay(t *testing.T) {
	dir := machineDir(t.TempDir())
	if err := dir.makeOverlay(3 << 30); err != nil {
		t.Fatal(err)
	}
	path := dir.path(overlayFile)
	for _, step := range []struct{ wish, want int64 }{{1 << 30, 3 << 30}, {5 << 30, 5 << 30}, {4 << 30, 5 << 30}} {
		if err := growOverlay(path, step.wish); err != nil {
			t.Fatal(err)
		}
		if content, _ := os.ReadFile(path); !bytes.Equal(content, emptyOverlay(step.want)) {
			t.Errorf("wished %d: not an empty overlay of %d", step.wish, step.want)
		}
	}
	if growOverlay(path, overlayLargest+1) == nil || dir.makeOverlay(overlayLargest+1) == nil {
		t.Error("an overlay can have more than its table has room for")
	}
	content := emptyOverlay(1 << 30)
	name := content[endian.BigEndian.Uint64(content[8:]):][:endian.BigEndian.Uint32(content[16:])]
	if string(name) != baseFile {
		t.Errorf("the backing file is %q", name)
	}
}
