//go:build !linux

package qemu

func throughShortPath(dir machineDir, name string, use func(path string) error) error {
	return throughSymlink(dir, name, use)
}
