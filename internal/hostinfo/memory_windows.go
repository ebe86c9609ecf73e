package hostinfo

import (
	"unsafe"

	"github.com/dorykube/dory/internal/size"
	"golang.org/x/sys/windows"
)

// memoryStatus is MEMORYSTATUSEX of sysinfoapi.h.
type memoryStatus struct {
	length, load          uint32
	totalPhysical         uint64
	availablePhysical     uint64
	totalPage, freePage   uint64
	totalVirtual          uint64
	freeVirtual, extended uint64
}

func memory() size.Size {
	status := memoryStatus{}
	status.length = uint32(unsafe.Sizeof(status))
	call := windows.NewLazySystemDLL("kernel32.dll").NewProc("GlobalMemoryStatusEx")
	if ok, _, _ := call.Call(uintptr(unsafe.Pointer(&status))); ok == 0 {
		return 0
	}
	return size.Size(status.totalPhysical)
}
