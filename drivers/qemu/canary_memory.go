package qemu

import (
	"fmt"
	"os"

	"github.com/dorykube/dory/internal/fail"
)

// canaryMemory remembers canaries' answers: in a file, since a canary takes seconds. An answer is good for one boot of this
// computer, one QEMU and one node image. A memory without a directory forgets.
type canaryMemory struct{ dir, key string }

type verdict struct {
	Works    bool   `json:"works"`
	Evidence string `json:"evidence,omitempty"`
}

func newCanaryMemory(dir string, b *binary, image string) (*canaryMemory, error) {
	info, err := os.Stat(image)
	if err != nil {
		return nil, fail.Wrap(fail.ArtifactMissing, err, "open the node image")
	}
	key := fmt.Sprintf("%s\n%s\n%s %d %d", bootID(), b.identity(), image, info.Size(), info.ModTime().UnixNano())
	return &canaryMemory{dir: dir, key: key}, nil
}

// remembered is the form of a memory's file. There is one per accelerator, so old answers do not pile up.
type remembered struct {
	Key    string             `json:"key"`
	Models map[string]verdict `json:"models"` // by processor model
}

func (c *canaryMemory) file(accel string) string { return "canary-" + accel + ".json" }

// read returns what is remembered of an accelerator; nothing if it is not good any more.
func (c *canaryMemory) read(accel string) map[string]verdict {
	var r remembered
	if c.dir == "" || machineDir(c.dir).readJSON(c.file(accel), &r) != nil || r.Key != c.key {
		return nil
	}
	return r.Models
}

func (c *canaryMemory) recall(what choice) (verdict, bool) {
	v, ok := c.read(what.Accel)[what.Model]
	return v, ok
}

// store forgets rather than fails: the answer is found again when it is needed.
func (c *canaryMemory) store(what choice, v verdict) {
	if c.dir == "" || os.MkdirAll(c.dir, 0o700) != nil {
		return
	}
	all := map[string]verdict{what.Model: v}
	for model, known := range c.read(what.Accel) {
		if model != what.Model {
			all[model] = known
		}
	}
	machineDir(c.dir).writeJSON(c.file(what.Accel), remembered{c.key, all})
}

// forget removes what is remembered of an accelerator.
func (c *canaryMemory) forget(accel string) {
	if c.dir != "" {
		removeFile(machineDir(c.dir).path(c.file(accel)))
	}
}
