package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/dorykube/dory/bundle"
)

// bench is what scenarios share, made when it is first needed.
type bench struct {
	home     *home // with a template of the default configuration
	resting  bool  // the cluster "resting" runs in it, and has come to rest
	software *bundle.Bundle
}

// resting is the cluster of the scenarios that need a settled one.
const resting = "resting"

// settleTime is how long a fork is left alone before it is at rest: 52 s after a fork the later part of its renewal is over,
// and an emulated machine has some work to finish then.
const settleTime = 100 * time.Second

// prepare has there be what is needed, and no other machine.
func (b *bench) prepare(ctx context.Context, n need) error {
	if n != settled || !b.resting {
		if err := b.clear(ctx); err != nil {
			return err
		}
	}
	if n != nothing && b.home == nil {
		if err := makeTemplate(ctx, b, &section{}); err != nil {
			return err
		}
	}
	if n != settled || b.resting {
		return nil
	}
	fmt.Fprintln(os.Stderr, "letting a fork come to rest")
	if _, err := b.home.dory(ctx, "start", "-p", resting); err != nil {
		return err
	}
	b.resting = true
	return sleep(ctx, settleTime)
}

// clear deletes all clusters of the shared home; the template stays.
func (b *bench) clear(ctx context.Context) error {
	b.resting = false
	if b.home == nil {
		return nil
	}
	_, err := b.home.dory(ctx, "delete", "--all")
	return err
}

// machines are those that scenarios left running for the next.
func (b *bench) machines() []int {
	if b.home == nil {
		return nil
	}
	return machines(b.home.dir)
}

func (b *bench) remove(ctx context.Context) {
	if b.home != nil {
		b.home.remove(ctx)
	}
}

// bundle opens the bundle that every cluster here is made from.
func (b *bench) bundle(ctx context.Context) (*bundle.Bundle, error) {
	if b.software == nil {
		opened, err := bundle.Open(ctx, bundleFile())
		if err != nil {
			return nil, err
		}
		b.software = opened
	}
	return b.software, nil
}

// kubectl returns the bundle's kubectl, as 'dory kubectl' would run it, and the image that has a shell on every node.
func (b *bench) kubectl(ctx context.Context, kubeconfig, context string) (kubectl, error) {
	software, err := b.bundle(ctx)
	if err != nil {
		return kubectl{}, err
	}
	path, err := software.ExtractKubectl(ctx, filepath.Join(cacheRoot(), "bench"))
	if err != nil {
		return kubectl{}, err
	}
	for _, image := range software.Manifest.Images {
		if image.Name == "busybox" {
			return kubectl{path, kubeconfig, context, image.Reference}, nil
		}
	}
	return kubectl{}, fmt.Errorf("%s has no image with a shell", software.Path)
}

// kubectlFor returns kubectl for a cluster of a home.
func (b *bench) kubectlFor(ctx context.Context, d *home, cluster string) (kubectl, error) {
	return b.kubectl(ctx, filepath.Join(d.dir, "kubeconfig"), cluster)
}
