package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/dorykube/dory/bundle"
)

// imageFiles makes what does not come from a Go module: pause from Kubernetes' C source, busybox from Debian's package.
func (b *build) imageFiles(ctx context.Context) error {
	if err := b.pause(ctx); err != nil {
		return err
	}
	return b.busybox(ctx)
}

func (b *build) pause(ctx context.Context) error {
	kubernetes := components[0]
	flags, err := b.moduleFlags(ctx, kubernetes)
	if err != nil {
		return err
	}
	m, err := b.pinned(ctx, kubernetes, flags)
	if err != nil {
		return err
	}
	root := filepath.Join(b.imageDir("pause"), "rootfs")
	if err := os.MkdirAll(root, 0o755); err != nil {
		return err
	}
	b.manifest.Components = append(b.manifest.Components, bundle.Component{
		Name: "pause", Version: pauseTag, License: "Apache-2.0", Module: kubernetes.module, Sum: m.Sum,
	})
	// Flags as upstream's; stripped.
	return b.command(ctx, filepath.Join(m.Dir, "build/pause/linux"), nil, variable("CC", "gcc"), "-Os", "-Wall", "-static", "-s",
		"-DVERSION=v"+pauseTag, "-o", filepath.Join(root, "pause"), "pause.c")
}

// busybox is the static binary of Debian's package; for another architecture it must be named.
func busybox() string { return variable("BUSYBOX", "/bin/busybox") }

func (b *build) busybox(ctx context.Context) error {
	bin := filepath.Join(b.imageDir("busybox"), "rootfs/bin")
	if err := os.MkdirAll(bin, 0o755); err != nil {
		return err
	}
	content, err := os.ReadFile(busybox())
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(bin, "busybox"), content, 0o755); err != nil {
		return err
	}
	// The applets and the version are asked of this computer's: the binary may be for another architecture.
	list, err := b.output(ctx, "", nil, "busybox", "--list")
	if err != nil {
		return err
	}
	for _, applet := range strings.Fields(string(list)) {
		if applet == "busybox" {
			continue
		}
		if err := os.Symlink("busybox", filepath.Join(bin, applet)); err != nil {
			return err
		}
	}
	help, err := b.output(ctx, "", nil, "busybox", "--help")
	if err != nil {
		return err
	}
	words := strings.Fields(string(help)) // BusyBox v1.35.0 (Debian ...) multi-call binary.
	if len(words) < 2 || !strings.HasPrefix(words[1], "v") {
		return fmt.Errorf("busybox does not say its version: %.60q", help)
	}
	b.manifest.Components = append(b.manifest.Components, bundle.Component{
		Name: "busybox", Version: strings.TrimPrefix(words[1], "v"), License: "GPL-2.0-only",
	})
	return nil
}
