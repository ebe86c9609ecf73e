// Package drivers says what a driver is. A driver makes, starts, stops and deletes machines of one kind and knows nothing
// of Kubernetes.
//
// Drivers keep no state of their own between calls: everything they make can be found again from the Machine they were
// given (its UUID and its directory), so a call that was interrupted anywhere is mended by calling again. The caller
// writes the Machine into its record before the first call.
//
//	         Create          Start            Stop
//	absent ---------> stopped -----> running ------> stopped
//	   ^                 |              |
//	   +----- Delete ----+--------------+
package drivers

import (
	"context"
	"io"
	"time"
)

// Driver is what every kind of machine can do. All methods are idempotent and end early, leaving a state that a second
// call mends, when the context does.
type Driver interface {
	// Check says whether the driver works on this computer. It makes nothing that outlives the call, except what it
	// remembers about the computer (the result of an accelerator's boot canary).
	Check(ctx context.Context) Report
	// Create makes the machine's disk and whatever else exists while it is off. A machine that exists is left as it is.
	Create(ctx context.Context, m Machine) error
	// Start boots the machine, or does nothing if it runs. It returns when the machine executes, which is before SSH
	// answers.
	Start(ctx context.Context, m Machine) (Status, error)
	// Stop asks the machine to power off, and after the grace ends it hard; with no grace it does so at once. A machine
	// that is off or absent is success.
	Stop(ctx context.Context, m Machine, grace time.Duration) error
	// Status says what the machine is doing now. It answers within two seconds even if the machine hangs.
	Status(ctx context.Context, m Machine) (Status, error)
	// Delete ends the machine and removes everything the driver made for it. An absent machine is success. Failures are
	// joined, not returned at the first.
	Delete(ctx context.Context, m Machine) error
}

// Optional powers. Each is asserted where it is used.
type (
	// Console is a driver that keeps what the machine wrote to its serial console.
	Console interface {
		// Console opens the console's log from its beginning. The error is fs.ErrNotExist before the first boot.
		Console(ctx context.Context, m Machine) (io.ReadCloser, error)
	}
	// Pauser is a driver that can halt a machine's processors and let them go on.
	Pauser interface {
		Pause(ctx context.Context, m Machine) error
		Unpause(ctx context.Context, m Machine) error
	}
	// Grower is a driver that can make the disk of a running machine larger. Of the file system on it it knows nothing.
	Grower interface {
		// Grow gives the disk the size m.Disk, unless it has that or more. A machine that is off gets it from Create.
		Grow(ctx context.Context, m Machine) error
	}
	// Freezer is a driver that can halt a running machine, which is no fork, and move its memory, device state and disk
	// into a directory, ending the machine. What is there afterwards is never run itself, only forked, any number of times.
	Freezer interface {
		// Freeze makes dir (0700, its files 0600). A failure leaves no dir, and the machine ended or running.
		Freeze(ctx context.Context, m Machine, dir string) error
	}
	// Forker is a driver that can start a new machine out of a frozen one: memory mapped copy-on-write, disk overlaid.
	Forker interface {
		// Fork makes m, which must be absent, and returns when it executes; its host ports are its own, everything in it is
		// as it was frozen. Of m, whatever the guest can see must equal the frozen machine's, but for name, UUID and key: they
		// count from the next boot on. Afterwards m is a machine like any other, and needs the frozen directory no more. A
		// frozen machine that cannot be forked is fail.TemplateUnusable, and m is absent then.
		Fork(ctx context.Context, m Machine, frozen string) (Status, error)
		// Line connects to who has opened the port LineName in the running machine, a virtio serial port. What is written before
		// anybody reads it waits. Close is what the other side reads as the end. It is for one at a time.
		Line(ctx context.Context, m Machine) (io.ReadWriteCloser, error)
	}
	// Saver is a driver that can write a running machine's whole state to disk and end it, so that its memory is free.
	Saver interface {
		// Save leaves the machine Stopped. The next Start resumes it (Status.Resumed), or, if that is not possible, boots it
		// from its disk and says why (Status.NotResumed); the caller has had the guest sync its file systems before.
		Save(ctx context.Context, m Machine) error
	}
	// Owner is a driver whose machines can be found again without a record of them.
	Owner interface {
		// Owned are the machines that were made with this directory or with one below it. Of each, only what Delete needs is
		// filled in. Where the driver does not work, there are none.
		Owned(ctx context.Context, dir string) ([]Machine, error)
	}
	// Fingerprinter is a driver that can name everything of its own that shapes a frozen machine: the hypervisor's
	// binary and version, machine type, CPU model, accelerator, device list. It becomes part of a template's key.
	Fingerprinter interface {
		Fingerprint(ctx context.Context, m Machine) (string, error)
	}
)

// LineName is the name of the port that Forker.Line leads to, as a machine's kernel has it in /sys/class/virtio-ports/*/name.
const LineName = "dev.dory.line"

// Machine is what a driver is asked for, and the only handle there is to it afterwards.
type Machine struct {
	Name string `json:"name"` // host name of the machine: the cluster's name, or NAME-2 and so on
	UUID string `json:"uuid"` // RFC 9562, made once; proves that a process or object is this machine's
	Dir  string `json:"dir"`  // absolute; the driver's own directory for this machine, made 0700 by Create

	CPUs   int   `json:"cpus"`
	Memory int64 `json:"memory"` // bytes, a multiple of 1 MiB
	Disk   int64 `json:"disk"`   // bytes, the virtual size of the data disk, a multiple of 1 MiB

	Image  string `json:"image"`  // path of the node image (ISO)
	Bundle string `json:"bundle"` // path of the bundle, attached read-only; empty: none

	AuthorizedKey string `json:"authorizedKey"` // one line of OpenSSH authorized_keys, for root; no trailing newline

	// Forwards are the machine's TCP ports that must be reachable from this computer, on 127.0.0.1.
	Forwards []Forward `json:"forwards"`

	Accel string `json:"accel"` // auto, kvm, hvf, whpx or tcg
	// CPUModel is the processor model and its features, as QEMU's -cpu takes them; empty or auto: the best that boots.
	CPUModel  string `json:"cpuModel,omitempty"`
	Ephemeral bool   `json:"ephemeral"` // the guest's flushes need not reach the host's disk

	// Freezable: it is made to be frozen, and so is refused where there is no room for its memory.
	Freezable bool `json:"freezable,omitempty"`

	// URI is the hypervisor that makes the machine, where a driver knows more than one, as virsh(1) would be told: driver
	// libvirt only.
	URI string `json:"uri,omitempty"`

	// Remote is how to reach a machine that exists already; nil: the driver makes the machine.
	Remote *Remote `json:"remote,omitempty"`
}

// Remote is the login on a machine that exists already, as its user would name it to ssh(1).
type Remote struct {
	Address string `json:"address"` // name or address
	Port    int    `json:"port"`
	User    string `json:"user"`              // root, or somebody whom sudo asks for no password
	KeyFile string `json:"keyFile,omitempty"` // absolute; empty: the agent's keys, and the usual files
	Jump    string `json:"jump,omitempty"`    // machine on the way, [user@]host[:port]; empty: none
}

// Forward makes a TCP port of the machine reachable at a port of 127.0.0.1.
type Forward struct {
	Name  string `json:"name"`           // what it is for: "ssh", "apiserver"
	Guest int    `json:"guest"`          // port in the machine
	Host  int    `json:"host,omitempty"` // port on this computer; 0: the driver chooses
	// Prefer makes Host a wish: if the port is taken, the driver chooses another. Otherwise a taken port is an error.
	Prefer bool `json:"prefer,omitempty"`
}

// State is what a machine does. The words are those that `dory status` shows as host.
type State string

const (
	Absent  State = "Nonexistent"
	Stopped State = "Stopped"
	Running State = "Running"
	Paused  State = "Paused"
	Unknown State = "Unknown" // the machine exists but does not say; Status.Reason has the evidence
)

// Status is what a driver found out about a machine.
type Status struct {
	State  State
	Reason string // why the state is Unknown or Paused, or what the machine died of; empty otherwise
	// NoSpace: it is Paused because a disk could not be written, most likely for want of space on the host.
	NoSpace bool
	// SSH is host:port where the machine's SSH server can be reached, whether or not it answers yet. Empty unless running.
	SSH string
	// Forwards are the machine's forwards with the host ports that are really in use. Empty unless running.
	Forwards []Forward
	// IP is the machine's address as seen from this computer.
	IP string
	// NodeIP is the machine's own address as it sees it, and HostIP this computer's as the machine sees it. Empty: QEMU's
	// user-mode network, which is the same for every machine.
	NodeIP, HostIP string
	// Accel is the accelerator in use, and AccelReason why it was chosen, as a sentence. Empty unless running.
	Accel, AccelReason string
	Hypervisor         string // what runs it, for people: program, version, processor model. Empty unless running
	PID                int    // of the hypervisor's process on this computer; 0: none
	// Resumed: this Start let a saved machine go on. NotResumed: it booted instead, for this reason.
	Resumed    bool
	NotResumed string
}

// HostPort returns the port of 127.0.0.1 that the named forward has, or 0.
func (s Status) HostPort(name string) int {
	for _, f := range s.Forwards {
		if f.Name == name {
			return f.Host
		}
	}
	return 0
}

// Report is what Check found: whether a start would work, and each thing that was looked at.
type Report struct {
	Usable   bool
	Summary  string // one line: "QEMU 7.2.22, TCG (emulation): /dev/kvm does not run a guest"
	Findings []Finding
	Err      error // why it is not usable, as a failure with its exit code; nil if usable or not known
}

// Finding is one thing that was looked at.
type Finding struct {
	Name     string `json:"name"` // "qemu binary", "accelerator kvm"
	OK       bool   `json:"ok"`
	Evidence string `json:"evidence"`         // what was seen: a version, a line of stderr
	Remedy   string `json:"remedy,omitempty"` // a command or sentence; only if not OK
}

// Capabilities of a driver, as data: what callers need to know before there is a machine.
type Capabilities struct {
	// OwnsMachines: the driver makes the machines, so CPUs, memory and disk can be chosen.
	OwnsMachines bool
	// Fork: machines can be frozen and forked (Freezer and Forker are implemented and this hypervisor can).
	Fork bool
	// LocalBundle: the bundle is attached as a disk; otherwise it is uploaded.
	LocalBundle bool
}
