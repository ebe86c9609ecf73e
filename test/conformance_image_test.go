//go:build vm

package test

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/dorykube/dory/drivers/drivertest/debian"
)

// suitePackages are what upstream's image of agnhost has, from Debian: its busybox would do most of it, and not as the tests want.
var suitePackages = []string{"bash", "bind9-dnsutils", "curl", "iproute2", "iperf", "netcat-openbsd", "socat", "util-linux", "wget"}

// suiteImage is one of the images of the suite. All have the same Debian; some have files besides.
type suiteImage struct {
	config map[string]any
	files  []suiteFile
}

// suiteFile is a file from this computer.
type suiteFile struct {
	name, from string
	mode       int64
}

// images are by the last part of their name.
func (s *suite) images() map[string]suiteImage {
	serves := map[string]any{"Cmd": []string{"/agnhost", "netexec", "--http-port=80"}}
	picture := func(name string) suiteImage {
		return suiteImage{config: map[string]any{"Entrypoint": []string{"/agnhost"}, "Cmd": []string{"test-webserver"}},
			files: []suiteFile{{"data.json", s.source + "/test/images/" + name + "/html/data.json", 0o644}}}
	}
	return map[string]suiteImage{
		"agnhost":           {config: map[string]any{"Entrypoint": []string{"/agnhost"}, "Cmd": []string{"pause"}}},
		"busybox":           {config: map[string]any{"Cmd": []string{"/bin/sh"}}},
		"etcd":              {files: []suiteFile{{"usr/local/bin/etcd", s.etcd, 0o755}}},
		"glibc-dns-testing": {config: map[string]any{"Cmd": []string{"/bin/sh"}}},
		"ipc-utils":         {config: map[string]any{"Cmd": []string{"/bin/sh"}}},
		"kitten":            picture("kitten"),
		"nautilus":          picture("nautilus"),
		"nginx":             {config: serves},
		"nonewprivs":        {config: map[string]any{"Cmd": []string{"nnp", "nonewprivs"}}, files: []suiteFile{{"usr/local/bin/nnp", s.agnhost, 0o4755}}},
		"nonroot":           {config: map[string]any{"User": "1234", "Cmd": []string{"/bin/sh"}}},
		"pause":             {config: map[string]any{"Entrypoint": []string{"/agnhost", "pause"}}},
		"sample-apiserver":  {config: map[string]any{"Entrypoint": []string{"/sample-apiserver"}}, files: []suiteFile{{"sample-apiserver", s.sample, 0o755}}},
	}
}

// importImages gives the node images under the names that the tests use: no node of a test reaches a registry.
func (s *suite) importImages(d *dory) {
	s.t.Helper()
	contents := map[string][]byte{"debian.tar": s.layer()}
	var manifest []map[string]any
	listed := s.command(s.program, "--list-images")
	for name, image := range s.images() {
		var tags []string
		for reference := range strings.FieldsSeq(listed) {
			if last, _, _ := strings.Cut(path.Base(reference), ":"); last == name {
				tags = append(tags, reference)
			}
		}
		if len(tags) == 0 {
			s.t.Fatalf("the tests use no image %s:\n%s", name, listed)
		}
		layers := []string{"debian.tar"}
		if image.files != nil {
			contents[name+".tar"] = s.archive(image.files)
			layers = append(layers, name+".tar")
		}
		var digests []string
		for _, layer := range layers {
			sum := sha256.Sum256(contents[layer])
			digests = append(digests, "sha256:"+hex.EncodeToString(sum[:]))
		}
		config := map[string]any{"Env": []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}}
		maps.Copy(config, image.config)
		contents[name+".json"] = s.encode(map[string]any{"architecture": "amd64", "os": "linux", "config": config,
			"rootfs": map[string]any{"type": "layers", "diff_ids": digests}})
		manifest = append(manifest, map[string]any{"Config": name + ".json", "RepoTags": tags, "Layers": layers})
	}
	contents["manifest.json"] = s.encode(manifest)
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	for name, content := range contents {
		w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(content))})
		w.Write(content)
	}
	w.Close()
	if r := d.pipe(startLimit, archive.String(), "ssh", "--", "ctr -n k8s.io images import -"); r.code != 0 {
		s.t.Fatalf("import the images: %s", r.stderr)
	}
}

func (s *suite) encode(value any) []byte {
	s.t.Helper()
	text, err := json.Marshal(value)
	if err != nil {
		s.t.Fatal(err)
	}
	return text
}

// archive is a layer of some files.
func (s *suite) archive(files []suiteFile) []byte {
	s.t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	s.add(w, files)
	if err := w.Close(); err != nil {
		s.t.Fatal(err)
	}
	return out.Bytes()
}

func (s *suite) add(w *tar.Writer, files []suiteFile) {
	s.t.Helper()
	for _, f := range files {
		content, err := os.ReadFile(f.from)
		if err == nil {
			err = w.WriteHeader(&tar.Header{Name: f.name, Mode: f.mode, Size: int64(len(content))})
		}
		if err == nil {
			_, err = w.Write(content)
		}
		if err != nil {
			s.t.Fatal(err)
		}
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
	porter := filepath.Join(s.source, "test", "images", "agnhost", "porter")
	s.add(w, []suiteFile{{"agnhost", s.agnhost, 0o755}, {"localhost.crt", filepath.Join(porter, "localhost.crt"), 0o644}, {"localhost.key", filepath.Join(porter, "localhost.key"), 0o644}})
	w.WriteHeader(&tar.Header{Typeflag: tar.TypeSymlink, Name: "agnhost-2", Linkname: "agnhost"})
	w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: "uploads", Mode: 0o777})
	if err := w.Close(); err != nil {
		s.t.Fatal(err)
	}
	return out.Bytes()
}
