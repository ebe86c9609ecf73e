//go:build !windows

package qemu

import (
	"context"
	"fmt"
	"net"
	"os"
	"syscall"
)

// giveFile gives QEMU an open file under a name, which the next command can use once. A pipe's other end is how QEMU's
// state is written and read: nothing is executed, no path is opened, and every version can.
func (q *monitor) giveFile(ctx context.Context, name string, file *os.File) error {
	conn, ok := q.conn.(*net.UnixConn)
	if !ok {
		return fmt.Errorf("give QEMU a file: %T is no Unix socket", q.conn)
	}
	return q.exchange(ctx, "getfd", map[string]string{"fdname": name}, nil, func(request []byte) error {
		_, _, err := conn.WriteMsgUnix(request, syscall.UnixRights(int(file.Fd())), nil)
		return err
	})
}
