package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"

	"github.com/dorykube/dory/bundle"
	"github.com/dorykube/dory/drivers"
	"github.com/dorykube/dory/internal/fail"
	"github.com/dorykube/dory/internal/kubeconfig"
	"github.com/dorykube/dory/internal/sshrun"
)

// loginLimit is how long a machine that runs may take to let somebody in.
const loginLimit = 60 * time.Second

func isEOF(err error) bool { return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) }

// checkNode refuses a node that is none of the cluster's. Empty is the control plane.
func checkNode(record *Record, node string) error {
	if node == "" || node == record.Machine.Name || node == record.Settings.NodeName {
		return nil
	}
	return fail.New(fail.GuestMissing, "cluster %q has no node %q; it has %s", record.Name, node, record.Settings.NodeName)
}

// runningMachine returns the record of a cluster and the status of its machine, which must run.
func (m *Manager) runningMachine(ctx context.Context, name, node string) (*Record, drivers.Status, error) {
	record, err := m.look(name)
	if err != nil {
		return nil, drivers.Status{}, err
	}
	if err := checkNode(record, node); err != nil {
		return nil, drivers.Status{}, err
	}
	status, err := m.machineStatus(ctx, name, record)
	if err == nil && status.State != drivers.Running {
		err = fail.New(fail.ClusterNotUp, "the machine of cluster %q is %s", name, status.State).WithEvidence(status.Reason)
	}
	return record, status, err
}

// Login logs in to a node as root.
func (m *Manager) Login(ctx context.Context, name, node string) (Node, error) {
	record, status, err := m.runningMachine(ctx, name, node)
	if err != nil && status.State != drivers.Unknown {
		return nil, err
	}
	driver, failure := m.openDriver(record.Driver, m.logger(nil))
	if failure != nil {
		return nil, failure
	}
	if _, ok := driver.(accessor); err != nil && !ok { // a machine with a login of its own may only have been slow to say
		return nil, err
	}
	record.Machine.Dir = m.files(name).path(machineDir)
	cfg, err := access(driver, record, m.files(name), status)
	if err != nil {
		return nil, err
	}
	cfg.Up = true
	limited, cancel := context.WithTimeout(ctx, loginLimit)
	defer cancel()
	client, err := m.parts.dial(limited, cfg)
	if err != nil {
		return nil, fail.Wrap(fail.GuestSSH, err, "log in to node %q", record.Machine.Name)
	}
	return client, nil
}

// accessor is a driver whose machines have logins of their own; others let root in with the key that dory made.
type accessor interface {
	Login(m drivers.Machine) (sshrun.Config, error)
}

// access is how to log in to a machine that runs.
func access(driver drivers.Driver, record *Record, f files, status drivers.Status) (sshrun.Config, error) {
	if a, ok := driver.(accessor); ok {
		cfg, err := a.Login(record.Machine)
		cfg.HostKey = record.HostKey
		return cfg, err
	}
	key, err := os.ReadFile(f.path(sshKeyFile))
	if err != nil {
		return sshrun.Config{}, fail.Wrap(fail.RecordCorrupt, err, "read the login key")
	}
	return sshrun.Config{Addr: status.SSH, User: sshUser, Key: key, HostKey: record.HostKey}, nil
}

// IP is the address of a node as seen from this computer.
func (m *Manager) IP(ctx context.Context, name, node string) (string, error) {
	_, status, err := m.runningMachine(ctx, name, node)
	return status.IP, err
}

// SSHKey is the file with the key that logs in to a node.
func (m *Manager) SSHKey(name, node string) (string, error) {
	record, err := m.look(name)
	if err == nil {
		err = checkNode(record, node)
	}
	if err == nil && record.Machine.Remote != nil {
		return record.Machine.Remote.KeyFile, nil
	}
	return m.files(name).path(sshKeyFile), err
}

// KnownHost is the line of known_hosts for a node.
func (m *Manager) KnownHost(ctx context.Context, name, node string) (string, error) {
	record, status, err := m.runningMachine(ctx, name, node)
	if err != nil {
		return "", err
	}
	host, port, err := net.SplitHostPort(status.SSH)
	if err != nil {
		return "", err
	}
	if port != "22" {
		host = "[" + host + "]:" + port
	}
	return host + " " + record.HostKey, nil
}

// UpdateContext writes the cluster's entries into the kubeconfig anew. It says whether they were wrong.
func (m *Manager) UpdateContext(ctx context.Context, name string) (changed bool, err error) {
	h, err := m.holdExisting(ctx, name, "update-context")
	if err != nil {
		return false, err
	}
	defer h.release()
	status, err := h.driver.Status(ctx, h.record.Machine)
	if err != nil {
		return false, err
	}
	address := apiAddress(status, h.record.Machine)
	if strings.HasSuffix(address, ":0") {
		return false, fail.New(fail.ClusterNotUp, "the machine of cluster %q is %s, and has an address only while it runs", name, status.State)
	}
	server := "https://" + address
	if changed = kubeconfig.Check(name, server) != nil; changed {
		if err := h.checkContext(ctx); err != nil {
			return false, err
		}
	}
	authority, err := h.openAuthority()
	if err != nil {
		return false, err
	}
	_, options := Defaults()
	options.EmbedCerts = kubeconfig.Embedded(name)
	s := &start{held: h, options: options, before: h.record, status: status}
	if _, err = s.writeKubeconfig(authority, server); err != nil {
		return false, err
	}
	return changed, h.files.save(h.record)
}

// Kubectl returns the cluster's kubectl, and the kubeconfig file that leads it to the cluster and to no other.
func (m *Manager) Kubectl(ctx context.Context, name string) (program, config string, err error) {
	record, err := m.look(name)
	if err != nil {
		return "", "", err
	}
	config = m.files(name).path(kubeconfigFile)
	if _, err := os.Stat(config); err != nil {
		return "", "", fail.Wrap(fail.ClusterNotUp, err, "cluster %q was never started to the end", name)
	}
	b, err := bundle.Open(ctx, record.Machine.Bundle)
	if fail.Is(err, fail.ArtifactMissing) {
		b, err = bundle.Open(ctx, m.Dirs.Artifact(bundleName(record.Spec.KubernetesVersion)))
	}
	if err != nil {
		return "", "", err
	}
	program, err = b.ExtractKubectl(ctx, m.kubectlDir())
	return program, config, err
}

// Console is what the cluster's machine wrote to its serial console, over all its boots.
func (m *Manager) Console(ctx context.Context, name string) (string, error) {
	record, err := m.look(name)
	if err != nil {
		return "", err
	}
	driver, err := m.openDriver(record.Driver, m.logger(nil))
	if err != nil {
		return "", err
	}
	machine := record.Machine
	machine.Dir = m.files(name).path(machineDir)
	text, err := console(ctx, driver, machine)
	if err != nil || text == "" { // there is no machine yet, but there may have been a template's, which failed
		if kept, failed := os.ReadFile(m.files(name).path(makingConsole)); failed == nil {
			text, err = string(kept), nil
		}
	}
	return strings.ReplaceAll(text, "\r", ""), err
}

// Log is the cluster's log on this computer.
func (m *Manager) Log(name string) (string, error) {
	if err := CheckName(name); err != nil {
		return "", err
	}
	text, err := os.ReadFile(m.files(name).path(logFile))
	if err != nil {
		return "", fmt.Errorf("read the cluster's log: %w", err)
	}
	return string(text), nil
}
