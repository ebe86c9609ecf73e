package cluster

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
)

// TemplateInputs is everything that shapes a frozen machine. Two configurations with equal inputs can be forked from one
// template.
type TemplateInputs struct {
	Image       string `json:"image"`       // digest of the node image
	Bundle      string `json:"bundle"`      // digest of the bundle
	Fingerprint string `json:"fingerprint"` // of the driver: hypervisor, machine type, accelerator, CPU, devices
	Provisioned string `json:"provisioned"` // settings and files of provisioning: see provisionKey
	Format      int    `json:"format"`      // raised when templates are made differently
}

// TemplateKey names a template: the same inputs give the same key, and any other input another one.
func TemplateKey(inputs TemplateInputs) string {
	text, err := json.Marshal(inputs)
	if err != nil {
		panic(err) // strings and a number always marshal
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])[:32]
}
