package qemu

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/dorykube/dory/drivers"
)

// setup is everything that shapes QEMU's command line. Two setups that differ only in the machine's name, UUID, key and
// host ports show the guest the same computer, which is what a fork depends on.
type setup struct {
	Machine     drivers.Machine
	MachineType string
	choice      // the accelerator and the processor model
	Sandbox     bool
	Boot        Boot

	Overlay bool      // the data disk is a fork's overlay; see overlay.go
	Memory  string    // the file that the guest's memory was at first, which is not written; empty: none
	Load    *snapshot // the guest goes on from there, instead of booting; nil: it boots
}

// Descriptors that QEMU inherits; 0 to 2 are its standard ones.
const (
	socketFD = 3 // the listening control socket
	noFD     = -1
)

// arguments is QEMU's command line for a setup, without the program's name. control is the descriptor of the listening
// control socket, or noFD if QEMU must make the socket itself. It is a pure function.
func arguments(s setup, control int) []string {
	m := s.Machine
	args := []string{
		// Thread names tell the vCPUs apart in top and perf.
		"-name", "guest=" + escape(m.Name) + ",debug-threads=on",
		// Proves, together with the working directory, that the process is this machine's: see findProcess.
		"-uuid", m.UUID,
		// Neither the user's qemu.conf nor QEMU's default floppy, CD-ROM, network card and monitor.
		"-no-user-config", "-nodefaults", "-display", "none",
	}
	args = append(args, board(s)...)
	args = append(args, controlOptions(control)...)
	args = append(args,
		"-chardev", "file,id=console,path="+consoleFile+",append=on",
		"-serial", "chardev:console",
		// The guest's random pool is full from its first second on; without, sshd and the kubelet wait for it.
		"-object", "rng-builtin,id=rng", "-device", "virtio-rng-pci,rng=rng",
		// Disks have a thread of their own: the main loop is busy with the user-mode network.
		"-object", "iothread,id=disks",
	)
	args = append(args, diskOptions(m, s.Overlay)...)
	args = append(args,
		"-netdev", "user,id=net"+hostForwards(m.Forwards),
		// No boot ROM: nothing boots from the network, and loading it costs time.
		"-device", "virtio-net-pci,netdev=net,romfile=,mac="+macAddress(m.UUID),
		// The port drivers.LineName: see Line. Ports are counted from 1.
		"-chardev", "socket,id=line,path="+lineFile+",server=on,wait=off",
		"-device", "virtio-serial-pci,id=ports,max_ports=2",
		"-device", "virtserialport,bus=ports.0,chardev=line,name="+drivers.LineName,
		"-kernel", s.Boot.Kernel, "-initrd", s.Boot.Initrd, "-append", kernelCmdline(s),
	)
	if s.Load != nil {
		args = append(args, "-incoming", "defer") // until QEMU is told from where: see load
	}
	if s.Sandbox {
		// A guest that broke out of QEMU could not start programs or gain rights. resourcecontrol stays allowed: io
		// threads set their own scheduling. With spawn=deny, QMP's "migrate exec:" ends QEMU; "migrate fd:" does the
		// same work.
		args = append(args, "-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny")
	}
	return args
}

// board is what a guest needs to come up: the canary has the same as every machine.
func board(s setup) []string {
	m := s.Machine
	mib := m.Memory >> 20
	return []string{
		"-machine", machineOptions(s),
		"-accel", accelOptions(s.Accel, m.Memory, s.Load != nil),
		"-cpu", s.model(),
		"-smp", fmt.Sprintf("cpus=%d,sockets=1,cores=%d,threads=1", m.CPUs, m.CPUs),
		// Memory as an object with a name: forks have it in a file instead, which no guest can tell.
		"-m", fmt.Sprintf("size=%dM", mib),
		"-object", memoryOptions(s.Memory, mib),
		"-rtc", "base=utc",
	}
}

func machineOptions(s setup) string {
	return s.MachineType + strings.Join([]string{
		"",
		"memory-backend=mem",
		"dump-guest-core=off", // a core dump of QEMU does not contain the cluster's keys
		"vmport=off",          // VMware's back door
		"sata=off", "smbus=off", "usb=off",
		// System management mode serves UEFI secure boot only, and emulating it slows the firmware; WHPX and HVF lack it.
		"smm=off",
		// Each look at an emulated HPET costs 3.3 us, and the kernel prefers it when it distrusts the TSC.
		"hpet=off",
	}, ",")
}

func memoryOptions(file string, mib int64) string {
	if file == "" {
		return fmt.Sprintf("memory-backend-ram,id=mem,size=%dM", mib)
	}
	return fmt.Sprintf("memory-backend-file,id=mem,size=%dM,mem-path=%s,share=off", mib, escape(file))
}

// translations bounds what QEMU keeps of translated code, in MiB: it would keep up to 1024 and throw nothing away before.
// Once it is full, QEMU throws all of it away and all processors wait. A boot is as fast with 512 as with 1024, and a guest
// that goes on without much to do is as fast with 256, which takes 260 MiB less. Eight of Kubernetes' own tests with pods, two
// at a time on one machine of 4 GiB that went on, took 202 s and 17 such flushes with 256, 128 s and 3 with 512, and 121 s
// and 2 with 1024. So a machine that has the memory for many pods gets what they need.
func translations(memory int64, goesOn bool) string {
	switch {
	case memory >= 8<<30:
		return ",tb-size=1024"
	case memory >= 4<<30 || !goesOn:
		return ",tb-size=512"
	default:
		return ",tb-size=256"
	}
}

// accelOptions: goesOn says that the guest does not boot.
func accelOptions(accel string, memory int64, goesOn bool) string {
	switch accel {
	case tcg:
		// One host thread per vCPU: the default of most hosts, and said for the others.
		return "tcg,thread=multi" + translations(memory, goesOn)
	case whpx:
		return "whpx,kernel-irqchip=off" // Hyper-V's interrupt controller loses MSIs of q35 devices
	default:
		return accel
	}
}

// controlOptions are QEMU's control socket. It listens before QEMU is executed, so that nobody waits for a file.
func controlOptions(fd int) []string {
	where := fmt.Sprintf("fd=%d", fd)
	if fd == noFD {
		where = "path=" + socketFile
	}
	return []string{
		"-chardev", "socket,id=qmp," + where + ",server=on,wait=off",
		"-qmp", "chardev:qmp", // QEMU 11.1 warns of -mon
	}
}

// diskOptions are the disks. The guest finds them by their serial numbers.
func diskOptions(m drivers.Machine, overlay bool) []string {
	// On both layers: each flushes, and each discards, for itself.
	durable := map[string]any{
		"cache":   map[string]bool{"direct": false, "no-flush": m.Ephemeral},
		"discard": "unmap", // the guest's discards give space back to the host
	}
	args := disk(dataNode, diskFile, durable, durable)
	if overlay {
		base := fileNode(baseFile, map[string]any{"read-only": true})
		args = disk(dataNode, overlayFile, merge(map[string]any{
			"driver":  "qcow2",
			"backing": map[string]any{"driver": "raw", "read-only": true, "file": base},
		}, durable), durable)
	}
	args = append(args, disk("image", m.Image, map[string]any{"read-only": true}, nil)...)
	if m.Bundle != "" {
		args = append(args, disk("bundle", m.Bundle, map[string]any{"read-only": true}, nil)...)
	}
	return args
}

// disk attaches a file, a raw one unless format says otherwise. File names are given as JSON, where no character is
// special.
func disk(name, file string, format, protocol map[string]any) []string {
	node := map[string]any{
		"node-name": name,
		"driver":    "raw",
		"file":      fileNode(file, protocol),
	}
	blockdev, _ := json.Marshal(merge(node, format)) // maps of strings and booleans; keys come out sorted
	device := "virtio-blk-pci,drive=" + name + ",serial=dory-" + name + ",iothread=disks"
	if name == dataNode {
		device += ",write-cache=on" // the guest flushes, rather than each of its writes
	}
	return []string{"-blockdev", string(blockdev), "-device", device}
}

// fileNode is a file of the host. Threads need nothing of the host; io_uring was not measurably faster, and containers and
// hardened kernels forbid it.
func fileNode(name string, options map[string]any) map[string]any {
	return merge(map[string]any{"driver": "file", "filename": name, "aio": "threads"}, options)
}

func merge(a, b map[string]any) map[string]any {
	for key, value := range b {
		a[key] = value
	}
	return a
}

// kernelCmdline is the kernel's command line of a machine. Whether it is too long, setup has seen.
func kernelCmdline(s setup) string {
	line, _ := KernelCmdline(s.Boot.Cmdline, s.Accel, s.Machine, UserNetwork)
	return line
}

// longestCmdline is what the x86 kernel reads of its command line; it cuts off the rest without a word.
const longestCmdline = 2047

// macAddress derives the address of a machine's network card, in the range of QEMU's own.
func macAddress(uuid string) string {
	sum := sha256.Sum256([]byte(uuid))
	return fmt.Sprintf("52:54:00:%02x:%02x:%02x", sum[0], sum[1], sum[2])
}

// escape doubles commas, which separate options.
func escape(s string) string { return strings.ReplaceAll(s, ",", ",,") }
