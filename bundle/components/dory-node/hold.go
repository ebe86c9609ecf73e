package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
)

// holdUntilRenewed runs as the unit dory-hold, with which a template is frozen. It halts what a fork does not need for its
// renewal, waits at the machine's line for an identity, and lets everything go on when the cluster has it. It is there already when
// the fork begins to run, where a login would be a handshake and three new processes.
func holdUntilRenewed() error {
	line, err := openLine()
	if err != nil {
		return err
	}
	if err := hold(true); err != nil {
		return err
	}
	if err := sayReady(); err != nil {
		return err
	}
	if err := renew(line); err != nil {
		fmt.Fprintln(line, err) // whoever gave the identity does not use this fork
		return err
	}
	return errors.Join(hold(false), exec.Command("systemctl", "start", "--no-block", "dory-renewal").Run())
}

// heldGroups are the control groups of what need not run while a fork is renewed. A fork's emulated processors know no
// code yet, and everything that runs takes them away from what is waited for.
var heldGroups = []string{
	"system.slice/kubelet.service", "system.slice/kube-controller-manager.service", "system.slice/kube-scheduler.service",
	"system.slice/kube-proxy.service", "system.slice/containerd.service", "kubepods.slice",
}

// hold halts all processes of the groups, or lets them go on.
func hold(halt bool) error {
	value := map[bool]string{true: "1", false: "0"}[halt]
	var failures []error
	for _, group := range heldGroups {
		err := os.WriteFile("/sys/fs/cgroup/"+group+"/cgroup.freeze", []byte(value), 0o644)
		if !errors.Is(err, os.ErrNotExist) {
			failures = append(failures, err)
		}
	}
	return errors.Join(failures...)
}

// sayReady tells systemd that the unit is up: sd_notify(3).
func sayReady() error {
	socket, err := net.Dial("unixgram", os.Getenv("NOTIFY_SOCKET"))
	if err != nil {
		return err
	}
	defer socket.Close()
	_, err = socket.Write([]byte("READY=1"))
	return err
}
