package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/dorykube/dory/bundle"
)

// module is what the go command knows of a pinned module.
type module struct {
	Version string
	Time    time.Time
	Sum     string
	Dir     string
}

// compile builds every component and enters it into the manifest.
func (b *build) compile(ctx context.Context) error {
	toolchain, err := b.output(ctx, b.componentDir(components[0]), nil, "go", "env", "GOVERSION")
	if err != nil {
		return err
	}
	b.manifest.Go = strings.TrimSpace(string(toolchain))
	for _, c := range components {
		start := time.Now()
		if err := b.compileComponent(ctx, c); err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		fmt.Printf("  %-30s %6.1f s\n", c.name, time.Since(start).Seconds())
	}
	return nil
}

func (b *build) compileComponent(ctx context.Context, c component) error {
	flags, err := b.moduleFlags(ctx, c)
	if err != nil {
		return err
	}
	m, err := b.pinned(ctx, c, flags)
	if err != nil {
		return err
	}
	if c.name == "kubernetes" {
		b.date = m.Time
	}
	b.manifest.Date = max(b.manifest.Date, m.Time.Format(time.DateOnly))
	b.manifest.Components = append(b.manifest.Components, bundle.Component{
		Name: c.name, Version: m.Version, License: c.license, Module: c.module, Sum: m.Sum,
	})
	if flags, err = b.patched(ctx, c, flags); err != nil {
		return err
	}
	ldflags := c.ldflags(m.Version, m.Time.Format(time.RFC3339))
	for _, binary := range c.binaries {
		args := append([]string{"build"}, flags...)
		args = append(args, "-tags="+c.tags, "-ldflags="+ldflags, "-o", b.place(binary), binary.source)
		if err := b.command(ctx, b.componentDir(c), b.platform(c, binary), "go", args...); err != nil {
			return err
		}
	}
	return nil
}

// place is where a binary goes: into the tree, or into the root of an image.
func (b *build) place(binary binary) string {
	if binary.forHost {
		return filepath.Join(b.work, binary.to)
	}
	if rest, ok := strings.CutPrefix(binary.to, "image/"); ok {
		image, path, _ := strings.Cut(rest, "/")
		return filepath.Join(b.imageDir(image), "rootfs", path)
	}
	return b.tree(binary.to)
}

func (b *build) componentDir(c component) string {
	return filepath.Join(b.source, "components", c.name)
}

// platform is the environment of a compilation. Flags of the user's own would change what is built.
func (b *build) platform(c component, binary binary) []string {
	env := []string{"GOFLAGS=-trimpath -buildvcs=false", "GOWORK=off", "CGO_ENABLED=0", "GOOS=linux", "GOARCH=" + b.arch}
	if c.cgo {
		env = append(env, "CGO_ENABLED=1")
	}
	if binary.forHost {
		env = append(env, "GOOS="+b.hostOS, "GOARCH="+b.hostArch)
	}
	return env
}

// moduleFlags chooses the go.mod of the wanted version of Kubernetes: go.mod has one, VERSION.mod the others.
func (b *build) moduleFlags(ctx context.Context, c component) ([]string, error) {
	if c.name != "kubernetes" {
		return nil, nil
	}
	m, err := b.pinned(ctx, c, nil)
	if err != nil || m.Version == b.version {
		return nil, err
	}
	file := b.version + ".mod"
	if _, err := os.Stat(filepath.Join(b.componentDir(c), file)); err != nil {
		others, _ := filepath.Glob(filepath.Join(b.componentDir(c), "v*.mod"))
		known := []string{m.Version}
		for _, other := range others {
			known = append(known, strings.TrimSuffix(filepath.Base(other), ".mod"))
		}
		slices.Sort(known)
		return nil, fmt.Errorf("version %s is not pinned; there are %s", b.version, strings.Join(known, ", "))
	}
	return []string{"-modfile=" + file}, nil
}

// pinned asks which version of the component's module go.mod names. dory's own have Kubernetes' version and no sum.
func (b *build) pinned(ctx context.Context, c component, flags []string) (m module, err error) {
	if c.module == "" {
		return module{Version: b.version, Time: b.date}, nil
	}
	args := append([]string{"list"}, flags...)
	out, err := b.output(ctx, b.componentDir(c), []string{"GOFLAGS=", "GOWORK=off"}, "go", append(args, "-m", "-json", c.module)...)
	if err != nil {
		return m, err
	}
	return m, json.Unmarshal(out, &m)
}
