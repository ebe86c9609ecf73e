package qemu

import (
	"errors"
	"math"

	"golang.org/x/sys/windows"
)

func isNoSpace(err error) bool { return errors.Is(err, windows.ERROR_DISK_FULL) }

// largestFile: Windows has no such limit.
func largestFile() int64 { return math.MaxInt64 }
