package hostinfo

import (
	"github.com/dorykube/dory/internal/size"
	"golang.org/x/sys/unix"
)

func memory() size.Size {
	var info unix.Sysinfo_t
	if unix.Sysinfo(&info) != nil {
		return 0
	}
	return size.Size(uint64(info.Totalram) * uint64(info.Unit))
}
