//go:build !linux

package qemu

func throughShortPath(dir machineDir, use func(path string) error) error {
	return throughSymlink(dir, use)
}
