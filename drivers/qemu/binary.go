package qemu

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dorykube/dory/internal/fail"
)

// program is the QEMU that runs the node image's architecture.
const program = "qemu-system-x86_64"

// binary is an installed QEMU and what it can do. It is asked rather than judged by its version: distributions leave
// parts out.
type binary struct {
	Path         string
	Version      string // "7.2.22 (Debian 1:7.2+dfsg-7)"
	Size         int64
	Modified     time.Time
	MachineTypes []string // versioned q35 types, oldest first
	Accels       []string // built in, which is not to say that they work: "tcg", "kvm"
	Models       []string // processor models; empty: it did not say
	Sandbox      bool     // it can confine itself with seccomp

	asked bool // by this process
}

// probeLimit is ample for a process that takes 30 ms.
const probeLimit = 10 * time.Second

// binaryFile keeps what QEMU has answered, until this computer boots anew: to ask it takes as long as a tenth of a fork.
const binaryFile = "binary.json"

// binaryMemory is the form of binaryFile.
type binaryMemory struct {
	HostBoot string `json:"hostBoot"`
	Binary   binary `json:"binary"`
}

// findBinary finds QEMU and knows what it can do: it asks, unless the answers are in the directory cache. named, if not empty, is
// its path; otherwise it is looked for in PATH.
func findBinary(ctx context.Context, named, cache string) (*binary, error) {
	path, err := exec.LookPath(program)
	if named != "" {
		path, err = exec.LookPath(named)
	}
	if err != nil {
		e := fail.Wrap(fail.QEMUMissing, err, "find QEMU")
		if named != "" {
			e.WithAdvice("DORY_QEMU must name a QEMU program; without it, %s is looked for in PATH", program)
		}
		return nil, e
	}
	// The file itself, not a link to it: an upgrade then always shows in size or time.
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	if path, err = filepath.Abs(path); err != nil {
		return nil, err
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, fail.Wrap(fail.QEMUMissing, err, "find QEMU")
	}
	b := &binary{Path: path, Size: info.Size(), Modified: info.ModTime()}
	known, dir := binaryMemory{}, machineDir(cache)
	if dir.readJSON(binaryFile, &known) == nil && known.HostBoot == bootID() && known.Binary.isFile(b) {
		return &known.Binary, nil
	}
	if err := b.probe(ctx); err != nil {
		return nil, err
	}
	b.asked = true
	return b, nil
}

// remember keeps the answers for the next process. If they cannot be kept, QEMU is asked again.
func (b *binary) remember(cache string) {
	if b.asked {
		machineDir(cache).writeVolatileJSON(binaryFile, binaryMemory{bootID(), *b})
	}
}

// isFile reports whether both are the same file, unchanged.
func (b *binary) isFile(other *binary) bool {
	return b.Path == other.Path && b.Size == other.Size && b.Modified.Equal(other.Modified)
}

// identity changes when QEMU is upgraded or replaced.
func (b *binary) identity() string {
	return fmt.Sprintf("%s %s %d %d", b.Path, b.Version, b.Size, b.Modified.UnixNano())
}

func (b *binary) hasMachineType(name string) bool { return slices.Contains(b.MachineTypes, name) }

func (b *binary) newestMachineType() string { return b.MachineTypes[len(b.MachineTypes)-1] }

// probe starts QEMU without a machine and asks it over stdin and stdout.
func (b *binary) probe(ctx context.Context) error {
	limited, cancel := context.WithTimeout(ctx, probeLimit)
	defer cancel()
	cmd := exec.CommandContext(limited, b.Path,
		"-machine", "none", "-nodefaults", "-no-user-config", "-display", "none", "-qmp", "stdio")
	cmd.Stdin = strings.NewReader(`
{"execute": "qmp_capabilities"}
{"execute": "query-version", "id": "version"}
{"execute": "query-machines", "id": "machines"}
{"execute": "qom-list-types", "arguments": {"implements": "accel"}, "id": "accels"}
{"execute": "query-cpu-definitions", "id": "models"}
{"execute": "query-command-line-options", "arguments": {"option": "sandbox"}, "id": "sandbox"}
{"execute": "quit"}
`)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		kind := fail.QEMUFailed
		if errors.Is(err, fs.ErrPermission) || errors.Is(err, fs.ErrNotExist) {
			kind = fail.QEMUMissing
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return fail.Wrap(kind, err, "ask %s what it can do", b.Path).WithEvidence(tail(stderr.String()))
	}
	b.read(&stdout)
	if len(b.MachineTypes) == 0 {
		return fail.New(fail.QEMUFailed, "%s offers no q35 machine", b.Path).WithEvidence(tail(stderr.String() + stdout.String()))
	}
	return nil
}

// read takes in the answers to probe. A question that this QEMU does not know is answered with an error: no, it cannot.
func (b *binary) read(answers *bytes.Buffer) {
	dec := json.NewDecoder(answers)
	for {
		var m struct {
			ID     string
			Return json.RawMessage
		}
		if dec.Decode(&m) != nil {
			return
		}
		switch m.ID {
		case "version":
			var v struct {
				QEMU    struct{ Major, Minor, Micro int }
				Package string
			}
			json.Unmarshal(m.Return, &v)
			b.Version = fmt.Sprintf("%d.%d.%d", v.QEMU.Major, v.QEMU.Minor, v.QEMU.Micro)
			if v.Package != "" {
				b.Version += " (" + v.Package + ")"
			}
		case "machines":
			b.MachineTypes = versionedMachines(names(m.Return), "pc-q35-")
		case "accels":
			for _, name := range names(m.Return) {
				if accel, ok := strings.CutSuffix(name, "-accel"); ok {
					b.Accels = append(b.Accels, accel)
				}
			}
			slices.Sort(b.Accels)
		case "models":
			b.Models = names(m.Return)
		case "sandbox":
			b.Sandbox = m.Return != nil && string(m.Return) != "[]"
		}
	}
}

func names(list json.RawMessage) (found []string) {
	var entries []struct{ Name string }
	json.Unmarshal(list, &entries)
	for _, e := range entries {
		found = append(found, e.Name)
	}
	return found
}

// versionedMachines returns those of prefix followed by a version, the oldest first.
func versionedMachines(names []string, prefix string) (found []string) {
	version := func(name string) []int {
		var numbers []int
		for part := range strings.SplitSeq(strings.TrimPrefix(name, prefix), ".") {
			n, err := strconv.Atoi(part)
			if err != nil {
				return nil
			}
			numbers = append(numbers, n)
		}
		return numbers
	}
	for _, name := range names {
		if strings.HasPrefix(name, prefix) && version(name) != nil {
			found = append(found, name)
		}
	}
	slices.SortFunc(found, func(a, b string) int { return slices.Compare(version(a), version(b)) })
	return found
}

func lastLine(text string) string {
	text = strings.TrimSpace(text)
	return text[strings.LastIndexByte(text, '\n')+1:]
}

// tail is the end of what QEMU wrote: enough for a person to see the cause.
func tail(text string) string {
	const lines = 8
	all := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
