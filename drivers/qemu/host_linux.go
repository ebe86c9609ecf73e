package qemu

import (
	"errors"
	"io/fs"
	"os"
	"runtime"
	"strings"
)

// hostAccel is the operating system's own accelerator.
const hostAccel = kvm

// precheck says why the accelerator cannot work here, as far as that shows without starting anything. The words continue
// a sentence that has a colon before them.
func precheck() (obstacle, remedy string) {
	file, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "there is no /dev/kvm", "switch on virtualisation in the firmware, or in the settings of the machine that this one runs in"
	case errors.Is(err, fs.ErrPermission):
		return "/dev/kvm may not be opened by this user", "sudo usermod -aG kvm $USER, and log in again"
	case err != nil:
		return err.Error(), ""
	}
	file.Close()
	if runtime.GOARCH != "amd64" {
		return "", ""
	}
	info, err := os.ReadFile("/proc/cpuinfo")
	if err == nil && !hasVirtualisation(string(info)) {
		return "/dev/kvm opens, but the processor shows neither vmx nor svm", "if this is a virtual machine, switch on nested virtualisation"
	}
	return "", ""
}

// hasVirtualisation looks for Intel's and AMD's flag in the text of /proc/cpuinfo.
func hasVirtualisation(cpuinfo string) bool {
	for line := range strings.Lines(cpuinfo) {
		if !strings.HasPrefix(line, "flags") {
			continue
		}
		for flag := range strings.FieldsSeq(line) {
			if flag == "vmx" || flag == "svm" {
				return true
			}
		}
		return false // the other processors have the same flags
	}
	return false
}

// hostCPU is the processor's model: a guest that was given the host's own processor depends on it.
func hostCPU() string {
	info, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(info)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}

// bootID changes with every boot of this computer.
func bootID() string {
	id, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(id))
}
