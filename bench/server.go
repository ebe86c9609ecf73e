package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/dorykube/dory/drivers"
)

// server is a cluster on a machine that is up, by driver ssh. The first start uploads the bundle and is interrupted then: only
// the second is timed.
func server(ctx context.Context, _ *bench, s *section) error {
	v, err := newVM("") // driver ssh brings the bundle itself
	if err != nil {
		return err
	}
	defer v.remove(context.WithoutCancel(ctx))
	port, err := freePort()
	if err != nil {
		return err
	}
	// The API server of a machine that exists is asked at the machine's own port.
	v.machine.Name, v.machine.Forwards[1] = "server", drivers.Forward{Name: "apiserver", Guest: port, Host: port}
	if err := v.boot(ctx); err != nil {
		return err
	}
	d, err := newHome()
	if err != nil {
		return err
	}
	defer d.remove(context.WithoutCancel(ctx))
	key := filepath.Join(v.dir, "key")
	if err := os.WriteFile(key, v.key, 0o600); err != nil {
		return err
	}
	host, sshPort, err := net.SplitHostPort(v.status.SSH)
	if err != nil {
		return err
	}
	d.env = append(d.env, "HOME="+v.dir, "SSH_AUTH_SOCK=", "DORY_DRIVER=ssh", "DORY_SSH_IP_ADDRESS="+host, "DORY_SSH_PORT="+sshPort,
		"DORY_SSH_KEY="+key, "DORY_APISERVER_PORT="+strconv.Itoa(port))
	if err := d.until(ctx, "machine", "start"); err != nil {
		return err
	}
	began := time.Now()
	steps, err := d.events(ctx, "start", "--wait=all")
	if err != nil {
		return err
	}
	s.since(rowServer, began)
	for _, step := range steps {
		s.add("step "+step.name, "s", step.took.Seconds())
	}
	return nil
}

func freePort() (int, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("find a free port: %w", err)
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port, nil
}
