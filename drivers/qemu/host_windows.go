package qemu

import (
	"os"
	"runtime"
	"strconv"
	"time"

	"golang.org/x/sys/windows"
)

const hostAccel = whpx

func precheck() (obstacle, remedy string) {
	if err := windows.NewLazySystemDLL("WinHvPlatform.dll").Load(); err != nil {
		return "Windows Hypervisor Platform is not installed",
			"Enable-WindowsOptionalFeature -Online -FeatureName HypervisorPlatform, and restart"
	}
	return "", ""
}

func hostCPU() string {
	if model := os.Getenv("PROCESSOR_IDENTIFIER"); model != "" {
		return model
	}
	return runtime.GOARCH
}

// bootID is the minute that Windows was started in: there is no identifier to read.
func bootID() string {
	return strconv.FormatInt(time.Now().Add(-windows.DurationSinceBoot()).Unix()/60, 10)
}
