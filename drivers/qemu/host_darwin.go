package qemu

import (
	"runtime"

	"golang.org/x/sys/unix"
)

const hostAccel = hvf

func precheck() (obstacle, remedy string) {
	if runtime.GOARCH != "amd64" {
		return "the node image is for another processor than this computer's", ""
	}
	if supported, err := unix.SysctlUint32("kern.hv_support"); err != nil || supported == 0 {
		return "macOS offers no Hypervisor.framework here", "a virtual machine that runs macOS needs nested virtualisation"
	}
	return "", ""
}

func hostCPU() string {
	model, err := unix.Sysctl("machdep.cpu.brand_string")
	if err != nil {
		return runtime.GOARCH
	}
	return model
}

func bootID() string {
	id, _ := unix.Sysctl("kern.bootsessionuuid")
	return id
}
