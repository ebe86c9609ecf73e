//go:build darwin || freebsd || netbsd

package iso

import "syscall"

func changed(st *syscall.Stat_t) int64 { return st.Ctimespec.Nano() }
