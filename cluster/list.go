package cluster

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/dorykube/dory/internal/size"
)

// Listed is a row of 'dory profile list'.
type Listed struct {
	Name       string    `json:"Name"`
	Driver     string    `json:"Driver"`
	Kubernetes string    `json:"KubernetesVersion"`
	Status     string    `json:"Status"` // as status shows the host; empty: not asked
	CPUs       int       `json:"CPUs"`
	Memory     size.Size `json:"Memory"`
	Disk       size.Size `json:"Disk"`
	Server     string    `json:"Server,omitempty"`
	Active     bool      `json:"Active"`           // the one that is meant when none is named
	Reason     string    `json:"Reason,omitempty"` // why the record cannot be read, or the state is not known
}

// Names are the clusters that have a directory, also those that are broken.
func (m *Manager) Names() ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(m.Dirs.State, clustersDir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var names []string
	for _, entry := range entries {
		if entry.IsDir() && CheckName(entry.Name()) == nil {
			names = append(names, entry.Name())
		}
	}
	slices.Sort(names)
	return names, hostError(err, "list the clusters")
}

// List tells of all clusters. With probe, their machines are asked, all at once.
func (m *Manager) List(ctx context.Context, probe bool) ([]Listed, error) {
	names, err := m.Names()
	if err != nil {
		return nil, err
	}
	rows := make([]Listed, len(names))
	var all sync.WaitGroup
	for i, name := range names {
		all.Go(func() { rows[i] = m.describe(ctx, name, probe) })
	}
	all.Wait()
	for _, name := range m.homeless(ctx) {
		rows = append(rows, Listed{Name: name, Status: HostError, Reason: fmt.Sprintf(stillRuns, name)})
	}
	return rows, nil
}

func (m *Manager) describe(ctx context.Context, name string, probe bool) Listed {
	record, err := m.look(name)
	if err != nil {
		return Listed{Name: name, Status: HostError, Reason: err.Error()}
	}
	row := Listed{Name: name, Driver: record.Driver, Kubernetes: record.Spec.KubernetesVersion,
		CPUs: record.Machine.CPUs, Memory: size.Size(record.Machine.Memory), Disk: size.Size(record.Machine.Disk)}
	if probe {
		status, err := m.machineStatus(ctx, name, record)
		row.Status, row.Reason = string(status.State), status.Reason
		if address := apiAddress(status, record.Machine); !strings.HasSuffix(address, ":0") {
			row.Server = "https://" + address
		}
		if err != nil {
			row.Status, row.Reason = HostError, err.Error()
		}
	}
	return row
}
