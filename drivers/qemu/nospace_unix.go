//go:build !windows

package qemu

import (
	"errors"
	"math"

	"golang.org/x/sys/unix"
)

func isNoSpace(err error) bool {
	return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) || errors.Is(err, unix.EFBIG)
}

// largestFile is how large this process and its children may make a file ("ulimit -f").
func largestFile() int64 {
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_FSIZE, &limit) != nil {
		return math.MaxInt64
	}
	return int64(min(limit.Cur, math.MaxInt64))
}
