package qemu

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// snapshotFiles are where a machine that does not run is kept: the files of its memory and of its devices' state, and
// snapshot, which is written last and without which there is none.
type snapshotFiles struct {
	dir                 machineDir
	memory, state, meta string // names
}

func (dir machineDir) saved() snapshotFiles {
	return snapshotFiles{dir, savedMemory, savedState, savedMeta}
}

func frozenFiles(dir string) snapshotFiles {
	return snapshotFiles{machineDir(dir), frozenMemory, frozenState, frozenMeta}
}

// snapshot describes a frozen or saved machine.
type snapshot struct {
	choice             // the accelerator it ran on
	QEMU        string `json:"qemu"` // version, for people
	MachineType string `json:"machineType"`
	Key         string `json:"key"` // see snapshotKey

	Memory part `json:"memory"`
	State  part `json:"state"`
	// Of other files, size and time suffice: they must be what they were.
	Disk  mark            `json:"disk"`
	Media map[string]mark `json:"media,omitempty"` // node image and bundle

	// HostBoot is the boot of this computer in which the files were written or read whole: until its end, what is in the
	// page cache is right, and need not have reached the disk.
	HostBoot string `json:"hostBoot"`

	state []byte       // of the devices, once it has been read
	begin func() error // is called when everything is loaded and the guest does not execute yet; may be nil
}

// part is a file of a snapshot.
type part struct {
	Size int64    `json:"size"`
	Sum  checksum `json:"sum"`
}

// mark tells whether a file is as it was.
type mark struct {
	Size     int64 `json:"size"`
	Modified int64 `json:"modified"` // nanoseconds since 1970
}

func markOf(path string) (mark, error) {
	info, err := os.Stat(path)
	if err != nil {
		return mark{}, err
	}
	return mark{info.Size(), info.ModTime().UnixNano()}, nil
}

// writeState writes the devices' state.
func (f snapshotFiles) writeState(s *snapshot) error {
	s.State = part{Size: int64(len(s.state)), Sum: sumBytes(s.state)}
	file, err := os.OpenFile(f.dir.path(f.state), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(s.state)
	return errors.Join(err, file.Close())
}

// describe makes a snapshot out of files that are in place. Neither these nor the description are made durable, which
// takes many seconds for a gigabyte: after a power cut, checksums tell whether they were.
func (f snapshotFiles) describe(s snapshot) error {
	s.HostBoot = bootID()
	return f.dir.writeVolatileJSON(f.meta, s)
}

// exist reports whether there is a snapshot, or what an interrupted attempt to make one has left.
func (f snapshotFiles) exist() bool {
	return exists(f.dir.path(f.meta)) || exists(f.dir.path(f.memory)) || exists(f.dir.path(f.state))
}

// remove removes the snapshot, its description first.
func (f snapshotFiles) remove() error {
	return errors.Join(removeFile(f.dir.path(f.meta)), removeFile(f.dir.path(f.state)), removeFile(f.dir.path(f.memory)))
}

// read reads a snapshot and looks whether its files are what was written. All of the memory is read only once after a
// restart of the computer, which may have been a power cut; otherwise it would take longer than everything else.
func (f snapshotFiles) read(ctx context.Context) (s snapshot, err error) {
	if err := f.dir.readJSON(f.meta, &s); err != nil {
		return s, fmt.Errorf("its description cannot be read: %w", err)
	}
	if s.state, err = os.ReadFile(f.dir.path(f.state)); err != nil {
		return s, fmt.Errorf("its devices' state cannot be read: %w", err)
	}
	if int64(len(s.state)) != s.State.Size || sumBytes(s.state) != s.State.Sum {
		return s, fmt.Errorf("its devices' state is damaged: %s", f.dir.path(f.state))
	}
	memory, err := markOf(f.dir.path(f.memory))
	if err != nil {
		return s, fmt.Errorf("its memory cannot be read: %w", err)
	}
	if memory.Size != s.Memory.Size {
		return s, fmt.Errorf("its memory is damaged: %s has %d bytes instead of %d", f.dir.path(f.memory), memory.Size, s.Memory.Size)
	}
	if s.HostBoot == bootID() {
		return s, nil
	}
	if sum, err := sumFile(ctx, f.dir.path(f.memory)); err != nil || sum != s.Memory.Sum {
		return s, fmt.Errorf("its memory did not survive the restart of this computer: %s is damaged (%v)", f.dir.path(f.memory), err)
	}
	s.HostBoot = bootID()
	f.dir.writeVolatileJSON(f.meta, s) // if it cannot be noted, the next one reads it again
	return s, nil
}

func sumBytes(content []byte) (sum checksum) {
	sum.add(0, content)
	return sum
}

// disk is the file that the machine's disk is written to.
func (dir machineDir) disk() string {
	if exists(dir.path(overlayFile)) {
		return dir.path(overlayFile)
	}
	return dir.path(diskFile)
}

// syncFile makes a file durable.
func syncFile(path string) error {
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return errors.Join(file.Sync(), file.Close())
}

// makePrivateDir makes a directory in place of what an interrupted call left under that name: its own files only.
func makePrivateDir(dir string, ours ...string) error {
	for _, name := range ours {
		if err := removeFile(filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.Mkdir(dir, 0o700)
}
