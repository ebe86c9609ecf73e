package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/dorykube/dory/bundle"
	"github.com/dorykube/dory/drivers/qemu"
	"github.com/dorykube/dory/iso"
)

// host is the computer that the figures are of, and what ran on it.
type host struct {
	CPU         string  `json:"cpu"`
	Cores       int     `json:"cores"`
	Memory      string  `json:"memory"`
	Kernel      string  `json:"kernel"`
	QEMU        string  `json:"qemu"` // version and accelerator, and why it is that one
	NodeKernel  string  `json:"nodeKernel"`
	Kubernetes  string  `json:"kubernetes"`
	Components  string  `json:"components"`  // what else the bundle has, with versions
	LoadAverage float64 `json:"loadAverage"` // of one minute, when the last run began
}

func describeHost(ctx context.Context) (host, error) {
	load, err := field("/proc/loadavg", "")
	if err != nil {
		return host{}, err
	}
	image, err := iso.Open(ctx, nodeImage())
	if err != nil {
		return host{}, err
	}
	software, err := bundle.Open(ctx, bundleFile())
	if err != nil {
		return host{}, err
	}
	h := host{Cores: runtime.NumCPU(), NodeKernel: image.Kernel, Kubernetes: software.Manifest.Kubernetes, Components: components(software)}
	h.LoadAverage, _ = strconv.ParseFloat(strings.Fields(load)[0], 64)
	h.CPU, _ = field("/proc/cpuinfo", "model name")
	memory, err := memoryOf("/proc/meminfo", "MemTotal")
	if err != nil {
		return host{}, err
	}
	h.Memory = fmt.Sprintf("%.1f GiB", memory/1024)
	release, err := field("/proc/sys/kernel/osrelease", "")
	if err != nil {
		return host{}, err
	}
	h.Kernel, _, _ = strings.Cut(release, "-") // what follows says who built it
	h.QEMU = qemu.New(qemu.Options{Cache: cacheRoot(), Image: nodeImage()}).Check(ctx).Summary
	return h, nil
}

// components are those that a cluster's speed depends on.
func components(software *bundle.Bundle) string {
	var list []string
	for _, c := range software.Manifest.Components {
		if slices.Contains([]string{"containerd", "runc", "etcd", "coredns"}, c.Name) {
			list = append(list, c.Name+" "+c.Version)
		}
	}
	return strings.Join(list, ", ")
}

// same says whether figures of two hosts can be mixed.
func (h host) same(other host) bool {
	h.LoadAverage = other.LoadAverage
	return h == other
}

func (h host) String() string {
	return fmt.Sprintf("%s, %d cores, %s, Linux %s; %s; nodes: Linux %s, Kubernetes %s, %s",
		h.CPU, h.Cores, h.Memory, h.Kernel, h.QEMU, h.NodeKernel, h.Kubernetes, h.Components)
}

// doryVersion is that of the program that is measured.
func doryVersion() string {
	out, _ := exec.Command(program, "version").Output()
	line, _, _ := strings.Cut(string(out), "\n")
	return strings.TrimPrefix(line, "dory version: ")
}

// field returns the value of the first "name : value" line of a file, or its first line if there is no name.
func field(path, name string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if name == "" {
			return strings.TrimSpace(lines.Text()), nil
		}
		if key, value, ok := strings.Cut(lines.Text(), ":"); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value), nil
		}
	}
	return "", fmt.Errorf("%s: no %q", path, name)
}

// kubernetesVersion is that of every cluster here.
const kubernetesVersion = "v1.37.2"

// Where 'make artifacts' put the node image and the bundle.
func nodeImage() string { return filepath.Join(artifacts(), "node-"+runtime.GOARCH+".iso") }
func bundleFile() string {
	return filepath.Join(artifacts(), "bundle-"+kubernetesVersion+"-"+runtime.GOARCH+".img")
}
