package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// iptables is what kubeadm's kube-proxy runs by default: Debian's package iptables, with its nft backend, as upstream's image
// has it too.
const iptables = "/usr/sbin/xtables-nft-multi"

// addIPTables copies this computer's iptables, its extensions and its libraries into the root of an image.
func addIPTables(ctx context.Context, rootfs string) error {
	files := []string{iptables}
	libraries, err := exec.CommandContext(ctx, "ldd", iptables).Output()
	if err != nil {
		return fmt.Errorf("find the libraries of %s: %w", iptables, err)
	}
	for line := range strings.Lines(string(libraries)) {
		for word := range strings.FieldsSeq(line) {
			if strings.HasPrefix(word, "/") {
				files = append(files, word)
			}
		}
	}
	extensions, err := filepath.Glob("/usr/lib/*/xtables/*.so")
	if err != nil || len(extensions) == 0 {
		return fmt.Errorf("no extensions of iptables in /usr/lib/*/xtables")
	}
	for _, file := range append(files, extensions...) {
		content, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		to := filepath.Join(rootfs, file)
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(to, content, 0o755); err != nil {
			return err
		}
	}
	for _, name := range []string{"iptables", "iptables-save", "iptables-restore", "ip6tables", "ip6tables-save", "ip6tables-restore"} {
		if err := os.Symlink(filepath.Base(iptables), filepath.Join(rootfs, filepath.Dir(iptables), name)); err != nil {
			return err
		}
	}
	return nil
}
