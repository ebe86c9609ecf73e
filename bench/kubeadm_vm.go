package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/dorykube/dory/drivers"
	"github.com/dorykube/dory/drivers/qemu"
	"github.com/dorykube/dory/internal/sshrun"
	"github.com/dorykube/dory/provision"
	"k8s.io/client-go/tools/clientcmd"
)

// vm is a machine that is not dory's: the baseline's, or one that exists already.
type vm struct {
	dir     string
	driver  *qemu.Driver
	machine drivers.Machine
	key     []byte
	status  drivers.Status
	ssh     *sshrun.Client // once it has booted
}

// bootLimit is how long a machine may take to let somebody in.
const bootLimit = 3 * time.Minute

// newVM describes a machine as dory's defaults have it, with a disk in place of the bundle.
func newVM(disk string) (*vm, error) {
	const gib = 1 << 30
	dir, err := os.MkdirTemp("", "dory-bench-")
	if err != nil {
		return nil, err
	}
	key, authorized, err := sshrun.NewKey()
	if err != nil {
		return nil, err
	}
	id := make([]byte, 16)
	rand.Read(id)
	id[6], id[8] = id[6]&0x0f|0x40, id[8]&0x3f|0x80 // RFC 9562, version 4
	return &vm{
		dir: dir, key: key,
		driver: qemu.New(qemu.Options{Cache: cacheRoot(), Image: nodeImage()}),
		machine: drivers.Machine{
			Name: "kubeadm", UUID: fmt.Sprintf("%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:]),
			Dir:  filepath.Join(dir, "machine"),
			CPUs: 2, Memory: 4 * gib, Disk: 20 * gib,
			Image: nodeImage(), Bundle: disk, AuthorizedKey: authorized, Accel: "auto",
			Forwards: []drivers.Forward{{Name: "ssh", Guest: 22}, {Name: "apiserver", Guest: 6443}},
		},
	}, nil
}

// boot makes the machine, starts it and logs in, as dory does.
func (v *vm) boot(ctx context.Context) (err error) {
	if err := v.driver.Create(ctx, v.machine); err != nil {
		return err
	}
	if v.status, err = v.driver.Start(ctx, v.machine); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, bootLimit)
	defer cancel()
	v.ssh, err = sshrun.Dial(ctx, sshrun.Config{Addr: v.status.SSH, User: "root", Key: v.key})
	return err
}

func (v *vm) remove(ctx context.Context) {
	var err error
	if v.ssh != nil {
		err = v.ssh.Close()
	}
	if err := errors.Join(err, v.driver.Delete(ctx, v.machine), os.RemoveAll(v.dir)); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
	}
}

// initLimit is how long a command on the machine may take; kubeadm's own patience is less.
const initLimit = 15 * time.Minute

// run runs a command on the machine. The error has what it said.
func (v *vm) run(ctx context.Context, shell string) error {
	ctx, cancel := context.WithTimeout(ctx, initLimit)
	defer cancel()
	var out bytes.Buffer
	if err := v.ssh.Run(ctx, provision.Cmd{Shell: shell + " 2>&1", Stdout: &out}); err != nil {
		return fmt.Errorf("%s: %w\n%s", shell, err, out.String())
	}
	return nil
}

// install puts the files onto the node and starts containerd.
func (v *vm) install(ctx context.Context, archive []byte) error {
	const unpack = "tar -x --no-same-owner -C / && nft -f /etc/kubernetes/services.nft && systemctl daemon-reload && systemctl start containerd"
	return v.ssh.Run(ctx, provision.Cmd{Shell: unpack, Stdin: bytes.NewReader(archive)})
}

// evidence is what somebody would ask a node on which kubeadm has failed.
const evidence = "journalctl -u kubelet -n 30 --no-pager -o cat; ctr -n k8s.io containers list; ls /var/log/containers; tail -n 5 /var/log/containers/*"

// explain adds evidence to an error.
func (v *vm) explain(ctx context.Context, err error) error {
	var out bytes.Buffer
	v.ssh.Run(ctx, provision.Cmd{Shell: "PATH=$PATH:/opt/dory/bundle/bin; { " + evidence + "; } 2>&1", Stdout: &out})
	return fmt.Errorf("%w\n%s", err, strings.TrimSpace(out.String()))
}

// kubectl returns this computer's kubectl for the cluster. kubeadm's certificate has no name for the forwarded port, so
// the one that every cluster's has is asked for.
func (v *vm) kubectl(ctx context.Context, b *bench) (kubectl, error) {
	var admin bytes.Buffer
	if err := v.ssh.Run(ctx, provision.Cmd{Shell: "cat /etc/kubernetes/admin.conf", Stdout: &admin}); err != nil {
		return kubectl{}, err
	}
	config, err := clientcmd.Load(admin.Bytes())
	if err != nil {
		return kubectl{}, err
	}
	for _, cluster := range config.Clusters {
		cluster.Server = "https://" + net.JoinHostPort("127.0.0.1", strconv.Itoa(v.status.HostPort("apiserver")))
		cluster.TLSServerName = "kubernetes"
	}
	path := filepath.Join(v.dir, "kubeconfig")
	if err := clientcmd.WriteToFile(*config, path); err != nil {
		return kubectl{}, err
	}
	k, err := b.kubectl(ctx, path, "")
	k.image = busyboxImage
	return k, err
}
