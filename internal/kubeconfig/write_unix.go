//go:build unix

package kubeconfig

import "golang.org/x/sys/unix"

func mayWrite(path string) error { return unix.Access(path, unix.W_OK) }

func mayMakeIn(dir string) error { return unix.Access(dir, unix.W_OK|unix.X_OK) }
