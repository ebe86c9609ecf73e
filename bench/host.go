package main

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
)

// host is the computer that the figures are of.
type host struct {
	CPU    string  `json:"cpu"`
	Cores  int     `json:"cores"`
	Memory string  `json:"memory"`
	Kernel string  `json:"kernel"`
	QEMU   string  `json:"qemu"`
	Dory   string  `json:"dory"`
	Load   float64 `json:"load"` // one-minute average when the run began
}

// loadedAbove is the load above which figures are marked: something else wanted the processors too.
const loadedAbove = 0.7

func describeHost() (host, error) {
	load, err := field("/proc/loadavg", "")
	if err != nil {
		return host{}, err
	}
	h := host{Cores: runtime.NumCPU()}
	h.Load, _ = strconv.ParseFloat(strings.Fields(load)[0], 64)
	h.CPU, _ = field("/proc/cpuinfo", "model name")
	h.Memory, _ = field("/proc/meminfo", "MemTotal")
	h.Kernel, _ = field("/proc/sys/kernel/osrelease", "")
	h.QEMU = firstLine("qemu-system-x86_64", "--version")
	h.Dory = firstLine(program, "version")
	return h, nil
}

func (h host) String() string {
	text := fmt.Sprintf("%s; %s, %d cores, %s, Linux %s; %s", h.Dory, h.CPU, h.Cores, h.Memory, h.Kernel, h.QEMU)
	if h.Load > loadedAbove {
		text += fmt.Sprintf("\nMARKED: the machine was loaded (%.2f) when the run began", h.Load)
	}
	return text
}

// field returns the value of the first "name : value" line of a file, or its first line if there is no name.
func field(path, name string) (string, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(content)) {
		if key, value, ok := strings.Cut(line, ":"); name == "" || ok && strings.TrimSpace(key) == name {
			if name == "" {
				value = line
			}
			return strings.TrimSpace(value), nil
		}
	}
	return "", fmt.Errorf("%s: no %q", path, name)
}

func firstLine(name string, args ...string) string {
	out, _ := exec.Command(name, args...).Output()
	line, _, _ := strings.Cut(string(out), "\n")
	return line
}
