// Package iso reads the node image: one ISO file that a driver either gives to a hypervisor as a disk or CD, or boots
// directly, with the kernel and the initrd taken out of it. The recipe beside this package (build.sh) makes it.
//
// On the kernel's command line a machine is told who it is; all of it is optional:
//
//	console=ttyS0                                where the kernel and systemd report
//	dory.hostname=NAME
//	dory.key=BASE64                              one line of authorized_keys, for root
//	dory.ip=ADDRESS/PREFIX,GATEWAY,DNS[,DNS...]  without it, DHCP on the first network card
package iso

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/dorykube/dory/internal/fail"
	"github.com/dorykube/dory/internal/verified"
)

// Files in the image.
const (
	kernelFile  = "boot/vmlinuz"
	initrdFile  = "boot/initrd"
	cmdlineFile = "boot/cmdline"
	factsFile   = "dory.json"
)

// digestSuffix names the file beside the image that has its digest, in sha256sum's format, made by build.sh.
const digestSuffix = ".sha256"

// Serials of the virtio disks by which the node image finds them.
const (
	SerialImage  = "dory-image"  // the ISO, read-only
	SerialData   = "dory-data"   // the machine's own disk: blank at first, formatted and grown by the image
	SerialBundle = "dory-bundle" // the bundle, read-only; mounted by provisioning
)

// Image is a node image that is what its digest says.
type Image struct {
	Path   string // absolute
	Digest string // sha256 of the file, in hex
	Facts
}

// Facts are what the image says about itself.
type Facts struct {
	Arch     string            `json:"arch"`     // as in GOARCH
	Debian   string            `json:"debian"`   // release of Debian: "13.8"
	Date     string            `json:"date"`     // day of Debian's archive that it was made from, "2026-11-29"; earlier images do not say it
	Kernel   string            `json:"kernel"`   // release of the kernel, as uname -r prints it
	Packages map[string]string `json:"packages"` // Debian package to version
}

// Boot is what booting the kernel directly needs.
type Boot struct {
	Kernel, Initrd string // paths
	Cmdline        string // what the image wants on the kernel's command line, before what the machine is told
}

// Open checks the image at path against the digest beside it. The whole file is read only if it is not the one that was
// found right before. Errors are fail.ArtifactMissing, ArtifactCorrupt and ArtifactArch.
func Open(ctx context.Context, path string) (*Image, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fail.New(fail.ArtifactMissing, "the node image %s is not there", path)
	}
	if err != nil {
		return nil, fail.Wrap(fail.HostPermission, err, "open the node image")
	}
	defer f.Close()
	digest, err := verify(ctx, path)
	if err != nil {
		return nil, err
	}
	img := &Image{Path: path, Digest: digest}
	text, err := readISO(f, factsFile)
	if err == nil {
		err = json.Unmarshal(text, &img.Facts)
	}
	if err != nil {
		return nil, corrupt(path, err, "is not a node image")
	}
	if img.Arch != runtime.GOARCH {
		return nil, fail.New(fail.ArtifactArch, "the node image %s is for %s, and this computer is %s", path, img.Arch, runtime.GOARCH)
	}
	return img, nil
}

// Boot takes the kernel and the initrd out of the image, into a directory below dir that is named after the image's
// digest; if it is there, nothing is written. Any number of processes may do this at once.
func (img *Image) Boot(dir string) (Boot, error) {
	f, err := os.Open(img.Path)
	if err != nil {
		return Boot{}, fail.Wrap(fail.ArtifactMissing, err, "open the node image")
	}
	defer f.Close()
	cmdline, err := readISO(f, cmdlineFile)
	if err != nil {
		return Boot{}, corrupt(img.Path, err, "is not a node image")
	}
	to := filepath.Join(dir, "boot-"+img.Digest[:16])
	if _, err := os.Stat(to); errors.Is(err, fs.ErrNotExist) {
		if err := img.extract(f, dir, to); err != nil {
			return Boot{}, err
		}
	}
	return Boot{
		Kernel:  filepath.Join(to, filepath.Base(kernelFile)),
		Initrd:  filepath.Join(to, filepath.Base(initrdFile)),
		Cmdline: strings.TrimSpace(string(cmdline)),
	}, nil
}

// extract fills a directory of its own and renames it to its final name, so that what has that name is complete. Who
// comes second finds the name taken, by the same content.
func (img *Image) extract(f *os.File, dir, to string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fail.Wrap(fail.HostPermission, err, "make the directory for kernel and initrd")
	}
	tmp, err := os.MkdirTemp(dir, ".boot-")
	if err != nil {
		return fail.Wrap(fail.HostPermission, err, "make the directory for kernel and initrd")
	}
	defer os.RemoveAll(tmp)
	for _, name := range []string{kernelFile, initrdFile} {
		content, err := readISO(f, name)
		if err != nil {
			return corrupt(img.Path, err, "is not a node image")
		}
		if err := writeSynced(filepath.Join(tmp, filepath.Base(name)), content); err != nil {
			return fail.Wrap(fail.HostPermission, err, "take kernel and initrd out of the node image")
		}
	}
	if err := os.Rename(tmp, to); err != nil {
		if _, statErr := os.Stat(to); statErr != nil {
			return fail.Wrap(fail.HostPermission, err, "take kernel and initrd out of the node image")
		}
	}
	forgetOthers(to)
	return nil
}

// keepBoots is how long kernels of other images stay: whoever needs an older one takes it out again.
const keepBoots = 24 * time.Hour

func forgetOthers(current string) {
	all, _ := filepath.Glob(filepath.Join(filepath.Dir(current), "boot-*"))
	for _, dir := range all {
		if info, err := os.Stat(dir); dir != current && err == nil && time.Since(info.ModTime()) > keepBoots {
			os.RemoveAll(dir)
		}
	}
}

// verify returns the file's digest, which is the one that stands beside it.
func verify(ctx context.Context, path string) (string, error) {
	want, err := wantedDigest(path)
	if err != nil {
		return "", err
	}
	switch err := verified.File(ctx, path, want); {
	case errors.Is(err, verified.ErrMismatch):
		return "", corrupt(path, nil, "is not what %s says", filepath.Base(path)+digestSuffix).WithEvidence(err.Error())
	case err != nil:
		return "", fail.Wrap(fail.HostPermission, err, "read the node image")
	}
	return want, nil
}

// wantedDigest reads the file that build.sh writes beside the image.
func wantedDigest(path string) (string, error) {
	text, err := os.ReadFile(path + digestSuffix)
	if errors.Is(err, fs.ErrNotExist) {
		return "", fail.New(fail.ArtifactMissing, "the node image's digest %s is not there", path+digestSuffix)
	}
	if err != nil {
		return "", fail.Wrap(fail.HostPermission, err, "read the node image's digest")
	}
	digest, _, _ := strings.Cut(string(text), " ")
	if sum, err := hex.DecodeString(digest); err != nil || len(sum) != sha256.Size {
		return "", corrupt(path+digestSuffix, nil, "has no sha256 in it")
	}
	return digest, nil
}

func corrupt(path string, cause error, format string, args ...any) *fail.Error {
	return fail.Wrap(fail.ArtifactCorrupt, cause, "%s %s", path, fmt.Sprintf(format, args...)).
		WithAdvice("delete %s and build it anew with 'make artifacts'", strings.TrimSuffix(path, digestSuffix))
}

func writeSynced(path string, content []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	return errors.Join(err, f.Sync(), f.Close())
}
