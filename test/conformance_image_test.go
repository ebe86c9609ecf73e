//go:build vm

package test

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/dorykube/dory/drivers/drivertest/debian"
)

// suitePackages are what upstream's image of agnhost has, from Debian: its busybox would do most of it, and not as the tests want.
var suitePackages = []string{"bash", "bind9-dnsutils", "curl", "iproute2", "iperf", "netcat-openbsd", "socat", "wget"}

// imageConfigs are how the images of the suite start, by the last part of their name; all have the same files.
var imageConfigs = map[string]map[string]any{
	"agnhost": {"Entrypoint": []string{"/agnhost"}, "Cmd": []string{"pause"}},
	"busybox": {"Cmd": []string{"/bin/sh"}},
	"httpd":   {"Cmd": []string{"/agnhost", "netexec", "--http-port=80"}},
	"nginx":   {"Cmd": []string{"/agnhost", "netexec", "--http-port=80"}},
	"pause":   {"Entrypoint": []string{"/agnhost", "pause"}},
}

// importImages gives the node images under the names that the tests use: no node of a test reaches a registry.
func (s *suite) importImages(d *dory) {
	s.t.Helper()
	layer := s.layer()
	sum := sha256.Sum256(layer)
	files := map[string][]byte{"layer.tar": layer}
	var manifest []map[string]any
	listed := s.command(s.program, "--list-images")
	for name, config := range imageConfigs {
		config["Env"] = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
		text, err := json.Marshal(map[string]any{"architecture": "amd64", "os": "linux", "config": config,
			"rootfs": map[string]any{"type": "layers", "diff_ids": []string{"sha256:" + hex.EncodeToString(sum[:])}}})
		if err != nil {
			s.t.Fatal(err)
		}
		var tags []string
		for reference := range strings.FieldsSeq(listed) {
			if image, _, _ := strings.Cut(path.Base(reference), ":"); image == name {
				tags = append(tags, reference)
			}
		}
		if len(tags) == 0 {
			s.t.Fatalf("the tests use no image %s:\n%s", name, listed)
		}
		files[name+".json"] = text
		manifest = append(manifest, map[string]any{"Config": name + ".json", "RepoTags": tags, "Layers": []string{"layer.tar"}})
	}
	text, err := json.Marshal(manifest)
	if err != nil {
		s.t.Fatal(err)
	}
	files["manifest.json"] = text
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	for name, content := range files {
		w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(content))})
		w.Write(content)
	}
	w.Close()
	if r := d.pipe(startLimit, archive.String(), "ssh", "--", "ctr -n k8s.io images import -"); r.code != 0 {
		s.t.Fatalf("import the images: %s", r.stderr)
	}
}

// layer is a Debian with agnhost in it, set up as upstream's Dockerfile does.
func (s *suite) layer() []byte {
	s.t.Helper()
	root := debian.Root{Suite: "trixie", Packages: suitePackages, Installed: true}.Make(s.t)
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		name, _ := filepath.Rel(root, path)
		if err != nil || name == "." {
			return err
		}
		info, err := entry.Info()
		if err != nil || !info.Mode().IsRegular() && !info.IsDir() && info.Mode()&fs.ModeSymlink == 0 {
			return err
		}
		target, _ := os.Readlink(path)
		header, err := tar.FileInfoHeader(info, target)
		if err != nil {
			return err
		}
		header.Name = name
		content := []byte(nil)
		if info.Mode().IsRegular() {
			if content, err = os.ReadFile(path); err != nil {
				return err
			}
		}
		if name == "etc/passwd" {
			content = append(content, "user-defined-in-image:x:1000:1000::/:/bin/sh\n"...)
		}
		if name == "etc/group" {
			content = append(content, "user-defined-in-image:x:1000:\ngroup-defined-in-image:x:50000:user-defined-in-image\n"...)
		}
		header.Size = int64(len(content))
		if err := w.WriteHeader(header); err != nil {
			return err
		}
		_, err = w.Write(content)
		return err
	})
	if err != nil {
		s.t.Fatal(err)
	}
	add := func(name, file string, mode int64) {
		content, err := os.ReadFile(file)
		if err != nil {
			s.t.Fatal(err)
		}
		w.WriteHeader(&tar.Header{Name: name, Mode: mode, Size: int64(len(content))})
		w.Write(content)
	}
	add("agnhost", s.agnhost, 0o755)
	w.WriteHeader(&tar.Header{Typeflag: tar.TypeSymlink, Name: "agnhost-2", Linkname: "agnhost"})
	w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: "uploads", Mode: 0o777})
	for _, name := range []string{"localhost.crt", "localhost.key"} {
		add(name, filepath.Join(s.source, "test", "images", "agnhost", "porter", name), 0o644)
	}
	if err := w.Close(); err != nil {
		s.t.Fatal(err)
	}
	return out.Bytes()
}
