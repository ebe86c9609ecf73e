package qemu

import "path/filepath"

// The files of a machine's directory. The kernel is not among them: see takeOutKernel. QEMU's working directory is the
// machine's, so that its arguments name these files without a path: they are the same for every machine, and no path is
// too long or has a character that QEMU reads differently.
const (
	diskFile     = "data.img"     // the data disk: raw, sparse
	overlayFile  = "data.qcow2"   // a fork's data disk instead: what differs from baseFile
	baseFile     = "base.img"     // the frozen machine's data disk, a hard link; never written
	memoryFile   = "memory"       // an older dory kept the memory of a machine there that it was going to freeze
	consoleFile  = "console.log"  // what the guest wrote to its serial console, all boots, each under a header
	consoleOld   = "console.old"  // the console's log before it grew too large
	stderrFile   = "qemu.log"     // what QEMU wrote to stdout and stderr since its last start
	socketFile   = "qmp.sock"     // QEMU's control socket
	lineFile     = "line.sock"    // the other end of the guest's port drivers.LineName
	processFile  = "process.json" // identity of the QEMU process: see process
	bootFile     = "boot.json"    // what was chosen at the last start: see bootRecord; absent after a clean stop
	hardwareFile = "machine.json" // what must not change over the machine's life: see hardware

	// A saved machine's snapshot; see snapshotFiles.
	savedMemory = "saved.memory"
	savedState  = "saved.state"
	savedMeta   = "saved.json"
)

// The files of a frozen machine's directory.
const (
	frozenMemory = "memory"
	frozenState  = "state"
	frozenDisk   = "disk.img"
	frozenMeta   = "frozen.json"
)

// allFiles are the files that Delete removes. Nothing else in the directory is touched.
var allFiles = []string{
	diskFile, overlayFile, baseFile, memoryFile, consoleFile, consoleOld, stderrFile, socketFile, lineFile, processFile,
	bootFile, hardwareFile, savedMemory, savedState, savedMeta,
}

// tempSuffix is appended to the name of a file while it is written.
const tempSuffix = ".tmp"

// machineDir is the directory of a machine.
type machineDir string

func (d machineDir) path(name string) string { return filepath.Join(string(d), name) }
