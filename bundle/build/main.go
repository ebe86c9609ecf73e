// Command build makes a bundle: it builds each component from its pinned Go module, makes the container images, puts
// them unpacked into a containerd root, and writes all of it as one file. See README.md for its variables.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"github.com/dorykube/dory/bundle"
)

// at is where a node mounts the bundle.
const at = "/opt/dory/bundle"

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: build OUT.img")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bundle:", err)
		os.Exit(1)
	}
}

// build is one run.
type build struct {
	version          string // of Kubernetes
	arch             string // of the nodes
	hostOS, hostArch string // of the computer that dory runs on
	source           string // bundle/
	work             string // intermediate files
	date             time.Time
	manifest         bundle.Manifest
}

func run(ctx context.Context, out string) error {
	out, err := filepath.Abs(out)
	if err != nil {
		return err
	}
	b := &build{
		version: variable("KUBERNETES_VERSION", "v1.37.2"),
		arch:    variable("ARCH", runtime.GOARCH),
		hostOS:  variable("HOST_OS", runtime.GOOS), hostArch: variable("HOST_ARCH", runtime.GOARCH),
	}
	if b.source, err = sourceDir(); err != nil {
		return err
	}
	inputs, err := b.inputs(ctx)
	if err != nil {
		return err
	}
	if unchanged(out, inputs) {
		fmt.Println(out, "is up to date")
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(out), 0o755); err != nil {
		return err
	}
	var removeWork func()
	if b.work, removeWork, err = makeWork(filepath.Dir(out)); err != nil {
		return err
	}
	defer removeWork()
	if err := b.all(ctx, out); err != nil {
		return err
	}
	return os.WriteFile(out+".inputs", []byte(inputs+"\n"), 0o644)
}

// all does the work, from modules to the file out.
func (b *build) all(ctx context.Context, out string) error {
	b.manifest = bundle.Manifest{Kubernetes: b.version, Arch: b.arch}
	for _, step := range []struct {
		name string
		do   func(context.Context) error
	}{
		{"components", b.compile},
		{"names of the multi-call binary", b.link},
		{"files of images", b.imageFiles},
		{"container images", b.images},
		{"licences", b.licenses},
		{"manifest", b.writeManifest},
		{"file system", b.filesystem},
		{"bundle", func(context.Context) error {
			return bundle.Write(out, filepath.Join(b.work, "filesystem"), filepath.Join(b.work, "host/kubectl"), b.hostOS+"/"+b.hostArch, b.manifest)
		}},
	} {
		start := time.Now()
		if err := step.do(ctx); err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
		fmt.Printf("%-32s %6.1f s\n", step.name, time.Since(start).Seconds())
	}
	info, err := os.Stat(out)
	if err != nil {
		return err
	}
	fmt.Printf("%s: %.1f MB\n", out, float64(info.Size())/1e6)
	return nil
}

// link makes the relative links by which the multi-call binary is called.
func (b *build) link(context.Context) error {
	for name, target := range links {
		if err := os.Symlink(target, b.tree(name)); err != nil {
			return err
		}
	}
	return nil
}

// tree returns the path of a file of the bundle.
func (b *build) tree(name string) string { return filepath.Join(b.work, "tree", name) }

// filesystem compresses the tree.
//
// What a node pays for at every start is decompression of the pages that its binaries touch. Processor time of a guest
// for "kubelet --version" with cold caches, in multiples of no compression (154 MB), and the size of the binary:
//
//	EROFS, LZ4, clusters of  4 KiB   1.6    68 MB      squashfs, LZ4, blocks of 128 KiB   1.7-2.0   53 MB
//	                        16 KiB   1.7    57 MB                 Zstandard     128 KiB   4.3       39 MB
//	                        64 KiB   2.2    52 MB
//
// Level 12 instead of 9 saves 0.3 % and takes more than twice as long. All files are root's, and none has extended
// attributes.
func (b *build) filesystem(ctx context.Context) error {
	return b.command(ctx, "", nil, "mkfs.erofs", "--quiet", "-zlz4hc,9", "-C16384", "-x-1", "--all-root",
		fmt.Sprintf("-T%d", b.date.Unix()), "-Ud0127000-0000-4000-8000-000000000002",
		filepath.Join(b.work, "filesystem"), b.tree(""))
}

// command runs a program; what it prints is shown if it fails.
func (b *build) command(ctx context.Context, dir string, env []string, name string, args ...string) error {
	_, err := b.output(ctx, dir, env, name, args...)
	return err
}

func (b *build) output(ctx context.Context, dir string, env []string, name string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.Output()
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		return nil, fmt.Errorf("%s: %w\n%s%s", name, err, out, exit.Stderr)
	case err != nil:
		return nil, err
	}
	return out, nil
}

func variable(name, otherwise string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return otherwise
}

// sourceDir finds bundle/ from the directory it is run in: dory's source tree.
func sourceDir() (string, error) {
	if _, err := os.Stat("bundle/components"); err != nil {
		return "", errors.New("run it in dory's source tree")
	}
	return filepath.Abs("bundle")
}
