// Package bundle opens and verifies a bundle: one read-only file with everything of one Kubernetes version.
//
// A bundle is a file system image followed by what a computer that cannot mount it needs:
//
//	file system   EROFS, mounted by nodes at /opt/dory/bundle
//	kubectl       for the platform of the computer that dory runs on, gzip
//	manifest      JSON, see Manifest
//	padding       so that the whole is a multiple of 512, the size of a disk's sector
//	footer        512 bytes: magic, offset and size of the manifest, digest of everything before the digest
package bundle

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
)

// Manifest says what is in a bundle. The file system holds it too, as manifest.json, without Kubectl.
type Manifest struct {
	Kubernetes string `json:"kubernetes"` // "v1.37.2"
	Arch       string `json:"arch"`       // of the nodes, as GOARCH: "amd64"
	// Date is the day of the newest release among the components, "2026-10-27": what came out later cannot be in it. Bundles
	// of earlier recipes do not say it, nor Go, the toolchain that the components were built with: "go1.26.11".
	Date       string      `json:"date,omitempty"`
	Go         string      `json:"go,omitempty"`
	Components []Component `json:"components"`
	Images     []Image     `json:"images"`
	Files      []File      `json:"files"` // of the file system, in order of their paths; symbolic links are not listed
	Kubectl    Kubectl     `json:"kubectl,omitzero"`
}

// Component is something that was built into the bundle.
type Component struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	License string `json:"license"`          // SPDX; the texts are in the file system below licenses/
	Module  string `json:"module,omitempty"` // Go module; empty for what comes from a Debian package
	Sum     string `json:"sum,omitempty"`    // as in go.sum
}

// Image is a container image that nodes find already pulled and unpacked.
type Image struct {
	Name      string `json:"name"`      // "coredns"
	Reference string `json:"reference"` // "registry.k8s.io/coredns/coredns:v1.15.0"
	Digest    string `json:"digest"`    // of its manifest: "sha256:..."
}

// File is a regular file of the file system.
type File struct {
	Path   string `json:"path"`
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

// Kubectl is where the kubectl for the host lies in the bundle.
type Kubectl struct {
	Platform string `json:"platform"` // "linux/amd64"
	Offset   int64  `json:"offset"`   // bytes from the start of the bundle
	Size     int64  `json:"size"`     // as stored, gzip
	Unpacked int64  `json:"unpacked"` // bytes of the program
	SHA256   string `json:"sha256"`   // of the program
}

// ImageReferences returns the references of the images by their short names: pause, coredns, ...
func (m Manifest) ImageReferences() map[string]string {
	references := map[string]string{}
	for _, image := range m.Images {
		references[image.Name] = image.Reference
	}
	return references
}

const (
	sectorSize = 512
	pageSize   = 4096
	digestSize = 32
	footerSize = sectorSize
	magic      = "dory bundle 1\n"
	manifestAt = 16 // in the footer: offset and size, 8 bytes each, little endian
)

// footer is the last sector. Its last 32 bytes are the SHA-256 of everything before them.
type footer struct {
	manifestOffset, manifestSize int64
	digest                       [digestSize]byte
}

var errNotABundle = errors.New("it does not end as a bundle does")

func (f footer) encode() []byte {
	sector := make([]byte, footerSize)
	copy(sector, magic)
	binary.LittleEndian.PutUint64(sector[manifestAt:], uint64(f.manifestOffset))
	binary.LittleEndian.PutUint64(sector[manifestAt+8:], uint64(f.manifestSize))
	copy(sector[footerSize-digestSize:], f.digest[:])
	return sector
}

// decodeFooter reads the last sector of a file of the given size.
func decodeFooter(sector []byte, size int64) (f footer, err error) {
	if len(sector) != footerSize || string(sector[:len(magic)]) != magic {
		return f, errNotABundle
	}
	f.manifestOffset = int64(binary.LittleEndian.Uint64(sector[manifestAt:]))
	f.manifestSize = int64(binary.LittleEndian.Uint64(sector[manifestAt+8:]))
	copy(f.digest[:], sector[footerSize-digestSize:])
	end := size - footerSize
	if f.manifestOffset < 0 || f.manifestSize <= 0 || f.manifestOffset > end || f.manifestSize > end-f.manifestOffset {
		return f, errNotABundle
	}
	return f, nil
}

func (f footer) hex() string { return hex.EncodeToString(f.digest[:]) }
