package main

import (
	"bytes"
	"context"
	"debug/buildinfo"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/dorykube/dory/bundle"
)

// finding is a vulnerability of a module.
type finding struct {
	id, module, version string
	fixed               string // the module's version that has it no more; empty if there is none
	summary             string
}

// scanner runs govulncheck.
type scanner struct{ program, database string }

// source scans dory's packages with all tests.
func (s scanner) source(ctx context.Context) ([]finding, error) {
	out, err := s.run(ctx, "-test", "-tags", "vm", "./...")
	if err != nil {
		return nil, err
	}
	return readFindings(out, true)
}

// bundle hands each Go program of a bundle, and the kubectl for this computer, to report.
func (s scanner) bundle(ctx context.Context, path, work string, report func(program string, found []finding)) error {
	b, err := bundle.Open(ctx, path)
	if err != nil {
		return err
	}
	kubectl, err := b.ExtractKubectl(ctx, filepath.Join(work, "host"))
	if err != nil {
		return err
	}
	tree := filepath.Join(work, "tree")
	// It does not ask whether owners and times can be set: none of them is needed.
	if err := command(ctx, "fsck.erofs", "--extract="+tree, "--no-preserve", "-d0", path); err != nil {
		return err
	}
	programs, err := goPrograms(tree)
	if err != nil {
		return err
	}
	if len(programs) == 0 {
		return errors.New("no Go program is in it")
	}
	fmt.Printf("bundle of Kubernetes %s: %d programs\n", b.Manifest.Kubernetes, len(programs)+1)
	for _, program := range append(programs, kubectl) {
		found, err := s.binary(ctx, program, filepath.Join(work, "blob"))
		if err != nil {
			return fmt.Errorf("%s: %w", program, err)
		}
		name := "kubectl of this computer"
		if program != kubectl {
			name, _ = filepath.Rel(tree, program)
		}
		report(name, found)
	}
	return nil
}

// goPrograms lists the files below dir that the Go linker made.
func goPrograms(dir string) (programs []string, err error) {
	err = filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		if _, err := buildinfo.ReadFile(path); err == nil {
			programs = append(programs, path)
		}
		return nil
	})
	return programs, err
}

// binary scans a program by what govulncheck extracts of it, in which modules that the bundle's build changed are put back.
func (s scanner) binary(ctx context.Context, program, blob string) ([]finding, error) {
	extracted, err := s.run(ctx, "-mode=extract", program)
	if err != nil {
		return nil, err
	}
	text, err := withoutCopies(extracted)
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(blob, text, 0o600); err != nil {
		return nil, err
	}
	out, err := s.run(ctx, "-mode=binary", blob)
	if err != nil {
		return nil, err
	}
	return readFindings(out, false)
}

// withoutCopies lets modules that were replaced by a directory count as what they were copied from: bundle/build/patch.go changes a
// few lines of them, and govulncheck knows no version of a directory.
func withoutCopies(extracted []byte) ([]byte, error) {
	var out bytes.Buffer
	decoder, encoder := json.NewDecoder(bytes.NewReader(extracted)), json.NewEncoder(&out)
	for {
		var message map[string]any
		if err := decoder.Decode(&message); err == io.EOF {
			return out.Bytes(), nil
		} else if err != nil {
			return nil, err
		}
		modules, _ := message["modules"].([]any)
		for _, entry := range modules {
			m, _ := entry.(map[string]any)
			replacement, _ := m["Replace"].(map[string]any)
			if version, _ := replacement["Version"].(string); version == "" || version == "(devel)" {
				m["Replace"] = nil
			}
		}
		if err := encoder.Encode(message); err != nil {
			return nil, err
		}
	}
}

func (s scanner) run(ctx context.Context, args ...string) ([]byte, error) {
	if args[0] != "-mode=extract" {
		args = append([]string{"-format=json", "-db=file://" + s.database}, args...)
	}
	c := exec.CommandContext(ctx, s.program, args...)
	c.Stderr = os.Stderr
	return c.Output()
}

// readFindings reads what govulncheck printed: of each vulnerability one finding for each module that has it.
func readFindings(out []byte, onlyCalled bool) (found []finding, err error) {
	type message struct {
		OSV *struct {
			ID, Summary string
		}
		Finding *struct {
			OSV   string
			Fixed string `json:"fixed_version"`
			Trace []struct{ Module, Version, Function string }
		}
	}
	known := map[string]finding{}
	seen := map[[2]string]bool{}
	decoder := json.NewDecoder(bytes.NewReader(out))
	for {
		var m message
		switch err := decoder.Decode(&m); {
		case err == io.EOF:
			return found, nil
		case err != nil:
			return nil, err
		}
		if m.OSV != nil {
			known[m.OSV.ID] = finding{id: m.OSV.ID, summary: m.OSV.Summary}
		}
		if m.Finding == nil || len(m.Finding.Trace) == 0 {
			continue
		}
		at := m.Finding.Trace[0]
		key := [2]string{m.Finding.OSV, at.Module}
		if onlyCalled && at.Function == "" || seen[key] {
			continue
		}
		seen[key] = true
		f := known[m.Finding.OSV]
		f.id, f.module, f.version, f.fixed = m.Finding.OSV, at.Module, at.Version, m.Finding.Fixed
		found = append(found, f)
	}
}
