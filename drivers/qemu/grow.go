package qemu

import (
	"context"
	"errors"

	"github.com/dorykube/dory/drivers"
)

// dataNode is the block node that is the machine's data disk.
const dataNode = "data"

// Grow makes the disk of a running machine larger; QEMU tells the guest.
func (d *Driver) Grow(ctx context.Context, m drivers.Machine) error {
	if err := check(m); err != nil {
		return err
	}
	return d.command(ctx, m, "grow the disk of", func(ctx context.Context, q *monitor) error {
		size, err := q.diskSize(ctx)
		if err != nil || size >= m.Disk { // block_resize would cut it off
			return err
		}
		return q.run(ctx, "block_resize", map[string]any{"node-name": dataNode, "size": m.Disk}, nil)
	})
}

// diskSize is the size of the data disk that the guest sees, in bytes.
func (q *monitor) diskSize(ctx context.Context) (int64, error) {
	var nodes []struct {
		Name  string `json:"node-name"`
		Image struct {
			Size int64 `json:"virtual-size"`
		}
	}
	if err := q.run(ctx, "query-named-block-nodes", map[string]any{"flat": true}, &nodes); err != nil {
		return 0, err
	}
	for _, n := range nodes {
		if n.Name == dataNode {
			return n.Image.Size, nil
		}
	}
	return 0, errors.New("QEMU has no data disk")
}
