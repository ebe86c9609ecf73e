package main

import (
	"bytes"
	"encoding/pem"
	"os"
	"path/filepath"

	"golang.org/x/crypto/x509roots/fallback/bundle"
)

const (
	passwd = "root:x:0:0:root:/root:/sbin/nologin\n" +
		"nobody:x:65534:65534:nobody:/nonexistent:/sbin/nologin\n" +
		"nonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin\n"
	group = "root:x:0:\nnobody:x:65534:\nnonroot:x:65532:\n"
)

// addBase adds what a Go program expects of an otherwise empty root.
func addBase(rootfs string) error {
	for _, file := range []struct {
		name    string
		content []byte
	}{
		{"etc/passwd", []byte(passwd)},
		{"etc/group", []byte(group)},
		{"etc/ssl/certs/ca-certificates.crt", certificates()},
	} {
		path := filepath.Join(rootfs, file.name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, file.content, 0o644); err != nil {
			return err
		}
	}
	tmp := filepath.Join(rootfs, "tmp")
	if err := os.MkdirAll(tmp, 0o755); err != nil {
		return err
	}
	return os.Chmod(tmp, 0o777|os.ModeSticky)
}

// certificates are Mozilla's roots as the Go project keeps them. Those that Mozilla trusts with a constraint, which a
// file of certificates cannot express, are left out.
func certificates() []byte {
	var file bytes.Buffer
	for root := range bundle.Roots() {
		if root.Constraint == nil {
			pem.Encode(&file, &pem.Block{Type: "CERTIFICATE", Bytes: root.Certificate}) //nolint:errcheck // to memory
		}
	}
	return file.Bytes()
}
