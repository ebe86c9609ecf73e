package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/dorykube/dory/drivers"
	"github.com/dorykube/dory/internal/fail"
	"github.com/dorykube/dory/internal/kubeconfig"
)

// Status is what 'dory status' shows of a node. The words are minikube's.
type Status struct {
	Name       string
	Host       string // Running, Stopped, Paused, Nonexistent, Unknown or Error
	Kubelet    string // Running, Stopped, Paused, Nonexistent or Unknown
	APIServer  string // Running, Stopped, Paused, Error, Nonexistent or Unknown
	Kubeconfig string // Configured or Misconfigured; Stopped or Nonexistent as the host is
	Worker     bool
	// Reasons say of everything that is not as it should be why.
	Reasons []string `json:",omitempty"`
}

// Words of a status besides those of drivers.State.
const (
	running       = string(drivers.Running)
	HostError     = "Error"
	configured    = "Configured"
	misconfigured = "Misconfigured"
)

// statusLimit keeps a status below three seconds, whatever hangs; the rest is for a busy computer to start dory in. Not less:
// a fork's first answer takes up to 2.3 s, as all of its code is translated anew.
const statusLimit = 2600 * time.Millisecond

// ExitCode is minikube's: bit 1 for the host, 2 for kubelet or API server, 4 for the kubeconfig.
func (s Status) ExitCode() int {
	code := 0
	if s.Host != running {
		code |= 1
	}
	if s.APIServer != running || s.Kubelet != running {
		code |= 2
	}
	if s.Kubeconfig != configured {
		code |= 4
	}
	return code
}

// Status finds out what the cluster does. It takes no lock and changes nothing.
func (m *Manager) Status(ctx context.Context, name string) (Status, error) {
	record, err := m.look(name)
	if fail.Is(err, fail.NoCluster) {
		none := string(drivers.Absent)
		if slices.Contains(m.homeless(ctx), name) {
			return Status{Name: name, Host: HostError, Kubelet: string(drivers.Unknown), APIServer: string(drivers.Unknown), Kubeconfig: none,
				Reasons: []string{fmt.Sprintf(stillRuns, name)}}, nil
		}
		return Status{Name: name, Host: none, Kubelet: none, APIServer: none, Kubeconfig: none,
			Reasons: []string{fmt.Sprintf("there is no cluster %q; 'dory start -p %s' makes it", name, name)}}, nil
	}
	if err != nil {
		return Status{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, statusLimit)
	defer cancel()
	machine, err := m.machineStatus(ctx, name, record)
	s := Status{Name: name, Host: string(machine.State), Kubelet: string(machine.State), APIServer: string(machine.State)}
	if machine.Reason != "" {
		s.Reasons = append(s.Reasons, machine.Reason)
	}
	if err != nil {
		s.Host, s.Kubelet, s.APIServer = HostError, string(drivers.Unknown), string(drivers.Unknown)
		s.Reasons = append(s.Reasons, err.Error())
	}
	s.Kubeconfig = s.Host
	if s.Host == string(drivers.Stopped) || s.Host == string(drivers.Absent) {
		switch record.Phase {
		case Making:
			s.Reasons = append(s.Reasons, fmt.Sprintf("the last start did not end; 'dory start -p %s' goes on", name))
		case Deleting:
			s.Reasons = append(s.Reasons, fmt.Sprintf("the last delete did not end; 'dory delete -p %s' goes on", name))
		}
		return s, nil
	}
	address := apiAddress(machine, record.Machine)
	s.Kubeconfig = configured
	if err := kubeconfig.Check(name, "https://"+address); err != nil {
		s.Kubeconfig = misconfigured
		s.Reasons = append(s.Reasons, err.Error()+"; 'dory update-context' mends it")
	}
	if s.Host == running {
		m.probeAPI(ctx, &s, record, address)
	}
	return s, nil
}

// machineStatus asks the driver, which is given what is left of the caller's time.
func (m *Manager) machineStatus(ctx context.Context, name string, record *Record) (drivers.Status, error) {
	driver, err := m.openDriver(record.Driver, m.logger(nil))
	if err != nil {
		return drivers.Status{}, err
	}
	machine := record.Machine
	machine.Dir = m.files(name).path(machineDir)
	return driver.Status(ctx, machine)
}

// probeAPI asks for the API server's health and the node's, at once.
func (m *Manager) probeAPI(ctx context.Context, s *Status, record *Record, address string) {
	s.APIServer, s.Kubelet = string(drivers.Unknown), string(drivers.Unknown)
	client, err := m.client(m.files(s.Name), address)
	if err != nil {
		s.APIServer, s.Kubelet = string(drivers.Stopped), string(drivers.Stopped)
		s.Reasons = append(s.Reasons, "Kubernetes has not been set up yet: "+err.Error())
		return
	}
	var all sync.WaitGroup
	var apiReason, kubeletReason string
	var skew time.Duration
	all.Go(func() { s.APIServer, apiReason = apiState(client.Ready(ctx)) })
	all.Go(func() { s.Kubelet, kubeletReason = kubeletState(ctx, client) })
	all.Go(func() { skew = clockSkew(ctx, client) })
	all.Wait()
	if skew != 0 {
		remedy := fmt.Sprintf("'dory start -p %s' sets it", s.Name)
		if m.borrowed(record.Driver) {
			remedy = ownClock
		}
		s.Reasons = append(s.Reasons, describeSkew(skew)+"; "+remedy)
	}
	if apiReason != "" {
		s.Reasons = append(s.Reasons, "apiserver: "+apiReason)
	} else if kubeletReason != "" {
		s.Reasons = append(s.Reasons, "kubelet: "+kubeletReason)
	}
}

func apiState(err error) (state, reason string) {
	var timeout net.Error
	switch {
	case err == nil:
		return running, ""
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return string(drivers.Unknown), "it does not answer"
	case errors.As(err, new(*net.OpError)), isEOF(err):
		return string(drivers.Stopped), err.Error()
	default:
		return HostError, err.Error()
	}
}

// nodePath is where the API server has the node.
const nodePath = "/api/v1/nodes/" + NodeName

// kubeletState is what the control plane thinks of the kubelet: Ready is kept alive by the kubelet itself.
func kubeletState(ctx context.Context, client api) (state, reason string) {
	text, err := client.Get(ctx, nodePath)
	if err != nil {
		return string(drivers.Unknown), "the API server does not say: " + err.Error()
	}
	var object struct {
		Status struct {
			Conditions []struct{ Type, Status, Message string }
		}
	}
	if err := json.Unmarshal([]byte(text), &object); err != nil {
		return string(drivers.Unknown), err.Error()
	}
	for _, c := range object.Status.Conditions {
		if c.Type == "Ready" {
			switch c.Status {
			case "True":
				return running, ""
			case "Unknown": // no heartbeat
				return string(drivers.Stopped), c.Message
			default:
				return running, c.Message // it reports, and says itself what is missing
			}
		}
	}
	return string(drivers.Unknown), "the node has no condition Ready"
}
