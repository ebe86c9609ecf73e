//go:build vm

package test

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestExpiredCertificates gives the node and this computer certificates that ended yesterday, as if the cluster had been left
// alone for a year; a start repairs it.
func TestExpiredCertificates(t *testing.T) {
	onlyInAll(t)
	d := newForker(t)
	d.expect(0, startLimit, "start")
	dir := filepath.Join(d.home, "state", "clusters", "dory")
	ca, key := readPair(t, filepath.Join(dir, "pki", "ca"))
	const pki = "/etc/kubernetes/pki/"
	for _, name := range []string{"apiserver", "kubelet", "kubelet-client", "controller-manager", "scheduler", "kube-proxy", "admin", "apiserver-kubelet-client"} {
		cert := expire(t, d.must(commandLimit, "ssh", "--", "cat "+pki+name+".crt"), ca, key)
		d.pipe(commandLimit, cert, "ssh", "--", "cat >"+pki+name+".crt")
	}
	own, err := os.ReadFile(filepath.Join(dir, "client.crt"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "client.crt"), []byte(expire(t, string(own), ca, key)), 0o600); err != nil {
		t.Fatal(err)
	}
	d.must(commandLimit, "ssh", "--", "systemctl restart --no-block kube-apiserver kubelet kube-controller-manager kube-scheduler")
	d.eventually("status tells of it", commandLimit, func() error {
		if r := d.run(commandLimit, "status"); r.code == 0 || !strings.Contains(r.stdout+r.stderr, "expired") {
			return errorString(r.stdout + r.stderr)
		}
		return nil
	})
	if r := d.expect(0, startLimit, "start"); !strings.Contains(r.stderr, "certificates renewed") {
		t.Error(r.stderr)
	}
	d.expect(0, commandLimit, "status")
	if ready := d.kubectl("get", "node", "-o", `jsonpath={.items[0].status.conditions[?(@.type=="Ready")].status}`); ready != "True" {
		t.Errorf("the node's condition Ready is %s", ready)
	}
	if again := d.expect(0, startLimit, "start"); !strings.Contains(again.stderr, "ready already") {
		t.Errorf("a second start does more than nothing: %s", again.stderr)
	}
}

func readPair(t *testing.T, path string) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	decode := func(suffix string) []byte {
		text, err := os.ReadFile(path + suffix)
		if err != nil {
			t.Fatal(err)
		}
		block, _ := pem.Decode(text)
		return block.Bytes
	}
	cert, err := x509.ParseCertificate(decode(".crt"))
	if err != nil {
		t.Fatal(err)
	}
	key, err := x509.ParsePKCS8PrivateKey(decode(".key"))
	if err != nil {
		if key, err = x509.ParseECPrivateKey(decode(".key")); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key.(*ecdsa.PrivateKey)
}

// expire issues the certificate again, with an end that was yesterday.
func expire(t *testing.T, text string, ca *x509.Certificate, key *ecdsa.PrivateKey) string {
	t.Helper()
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		t.Fatalf("not a certificate: %q", text)
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	cert.NotAfter, cert.SerialNumber = time.Now().Add(-24*time.Hour), big.NewInt(time.Now().UnixNano())
	der, err := x509.CreateCertificate(rand.Reader, cert, ca, cert.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}
