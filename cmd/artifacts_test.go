package cmd

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/dorykube/dory/bundle"
	"github.com/dorykube/dory/iso/isotest"
	"github.com/rogpeppe/go-internal/testscript"
)

// artifacts puts a bundle and a node image into the cache: artifacts FACTS, where the file FACTS is the image's dory.json.
func artifacts(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: artifacts FACTS")
	}
	dir := ts.MkAbs("home/cache/artifacts")
	ts.Check(os.MkdirAll(dir, 0o700))
	image := isotest.Image(strings.Replace(ts.ReadFile(args[0]), "ARCH", runtime.GOARCH, 1))
	path := filepath.Join(dir, "node-"+runtime.GOARCH+".iso")
	ts.Check(os.WriteFile(path, image, 0o600))
	ts.Check(os.WriteFile(path+".sha256", fmt.Appendf(nil, "%x  node.iso\n", sha256.Sum256(image)), 0o600))
	ts.Check(bundle.Write(filepath.Join(dir, "bundle-v1.37.2-"+runtime.GOARCH+".img"), ts.MkAbs(args[0]), ts.MkAbs(args[0]), "any/any",
		bundle.Manifest{Kubernetes: "v1.37.2", Arch: runtime.GOARCH, Date: "2026-10-27", Go: "go1.26.11",
			Components: []bundle.Component{{Name: "etcd", Version: "v3.7.3", License: "Apache-2.0"}, {Name: "busybox", Version: "1.35.0"}}}))
}
