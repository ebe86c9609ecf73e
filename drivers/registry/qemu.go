package registry

import (
	"errors"

	"github.com/dorykube/dory/drivers"
	"github.com/dorykube/dory/drivers/qemu"
)

func newQEMU(o Options) drivers.Driver {
	return qemu.New(qemu.Options{Cache: o.Cache, Image: o.Image, Log: o.Log, Boot: boot})
}

func boot(image, dir string) (qemu.Boot, error) {
	return qemu.Boot{}, errors.New("package iso is not there yet")
}
