package qemu

import (
	"context"
	"net"
	"os"
	"path/filepath"
)

// A Unix socket's path must fit into 104 bytes (macOS) or 108 (Linux); a machine's directory may be deeper.
const longestSocketPath = 100

// listenSocket makes the control socket of the machine's directory, in place of one that an earlier QEMU left.
func listenSocket(dir machineDir) (*net.UnixListener, error) {
	if err := os.Remove(dir.path(socketFile)); err != nil && !os.IsNotExist(err) {
		return nil, err
	}
	var listener *net.UnixListener
	err := throughShortPath(dir, socketFile, func(path string) error {
		l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
		if err == nil {
			l.SetUnlinkOnClose(false) // QEMU goes on listening
			listener = l
		}
		return err
	})
	return listener, err
}

// dialSocket connects to a socket in the machine's directory.
func dialSocket(ctx context.Context, dir machineDir, name string) (net.Conn, error) {
	var conn net.Conn
	err := throughShortPath(dir, name, func(path string) (err error) {
		conn, err = new(net.Dialer).DialContext(ctx, "unix", path)
		return err
	})
	return conn, err
}

// throughSymlink calls use with a path to a socket in the directory that is short enough, if need be through a symbolic link
// that exists during the call.
func throughSymlink(dir machineDir, name string, use func(path string) error) error {
	if path := dir.path(name); len(path) <= longestSocketPath {
		return use(path)
	}
	temp, err := os.MkdirTemp("", "dory")
	if err != nil {
		return err
	}
	defer os.RemoveAll(temp)
	link := filepath.Join(temp, "m")
	if err := os.Symlink(string(dir), link); err != nil {
		return err
	}
	return use(filepath.Join(link, name))
}
