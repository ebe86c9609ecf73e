package hostinfo

import (
	"github.com/dorykube/dory/internal/size"
	"golang.org/x/sys/unix"
)

func memory() size.Size {
	bytes, err := unix.SysctlUint64("hw.memsize")
	if err != nil {
		return 0
	}
	return size.Size(bytes)
}
