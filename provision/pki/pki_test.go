package pki

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestOpenMakesOnceAndReadsAgain(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "pki")
	first, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	second, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if string(first.Cluster.CertPEM()) != string(second.Cluster.CertPEM()) || !first.ServiceAccount.Equal(second.ServiceAccount) {
		t.Error("the authority that was read is not the one that was made")
	}
	filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
		if err != nil {
			t.Fatal(err)
		}
		info, err := entry.Info()
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s is open to others: %v", path, info.Mode())
		}
		return nil
	})
}

// Stopped between two files, the next Open must end up with a whole authority; damaged later, it must not be replaced.
func TestOpenAfterInterruptionAndDamage(t *testing.T) {
	dir := t.TempDir()
	if _, err := Open(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, accountFile)); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir); err != nil {
		t.Errorf("after an interrupted making: %v", err)
	}
	key := filepath.Join(dir, "ca.key")
	if err := os.WriteFile(key, []byte("garbage"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir); err == nil {
		t.Error("a damaged key went unnoticed")
	}
	if content, _ := os.ReadFile(key); string(content) != "garbage" {
		t.Error("a damaged key was replaced")
	}
}

// A cluster that an older dory made has no authority for requests: it gets one, once, and nothing else of it changes.
func TestOlderAuthoritySignsRequestsToo(t *testing.T) {
	dir := t.TempDir()
	before, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"requests-ca.crt", "requests-ca.key"} {
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	after, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	again, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if string(before.Cluster.CertPEM()) != string(after.Cluster.CertPEM()) || !before.ServiceAccount.Equal(after.ServiceAccount) {
		t.Error("the rest of the authority changed")
	}
	if string(before.Requests.CertPEM()) == string(after.Requests.CertPEM()) || string(after.Requests.Pair().Key) != string(again.Requests.Pair().Key) {
		t.Error("the new authority is not a new one, or not kept")
	}
	text := string(after.TrustedPEM())
	if !strings.Contains(text, string(after.Cluster.CertPEM())) || !strings.Contains(text, string(after.Requests.CertPEM())) {
		t.Error("the cluster trusts one of them only")
	}
}

func TestIssuedCertificatesAreForOnePurpose(t *testing.T) {
	a, err := New()
	if err != nil {
		t.Fatal(err)
	}
	server, err := a.Cluster.Issue(Leaf{Name: "api", DNSNames: []string{"localhost"}, IPs: []net.IP{net.IPv4(127, 0, 0, 1)}})
	if err != nil {
		t.Fatal(err)
	}
	client, err := a.Cluster.Issue(Leaf{Name: "system:node:n", Groups: []string{"system:nodes"}})
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(a.Cluster.CertPEM())
	verify := func(pair Pair, usage x509.ExtKeyUsage, name string) error {
		if _, err := tls.X509KeyPair(pair.Cert, pair.Key); err != nil {
			t.Error(err)
		}
		_, err := parse(t, pair.Cert).Verify(x509.VerifyOptions{Roots: roots, DNSName: name, KeyUsages: []x509.ExtKeyUsage{usage}})
		return err
	}
	if err := verify(server, x509.ExtKeyUsageServerAuth, "127.0.0.1"); err != nil {
		t.Error(err)
	}
	if err := verify(server, x509.ExtKeyUsageClientAuth, ""); err == nil {
		t.Error("a server's certificate lets its holder log in")
	}
	if err := verify(client, x509.ExtKeyUsageClientAuth, ""); err != nil {
		t.Error(err)
	}
	if subject := parse(t, client.Cert).Subject; subject.CommonName != "system:node:n" || subject.Organization[0] != "system:nodes" {
		t.Errorf("issued to %v", subject)
	}
	other, err := New()
	if err != nil {
		t.Fatal(err)
	}
	strangers := x509.NewCertPool()
	strangers.AppendCertsFromPEM(other.Cluster.CertPEM())
	if _, err := parse(t, client.Cert).Verify(x509.VerifyOptions{Roots: strangers, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}); err == nil {
		t.Error("another cluster's authority accepts the certificate")
	}
}

func parse(t *testing.T, text []byte) *x509.Certificate {
	t.Helper()
	block, _ := pem.Decode(text)
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func TestCertificatesAreDueInTheLastThirdOfTheirLife(t *testing.T) {
	a, err := New()
	if err != nil {
		t.Fatal(err)
	}
	pair, err := a.Cluster.Issue(Leaf{Name: "somebody"})
	if err != nil {
		t.Fatal(err)
	}
	text := append(a.Cluster.CertPEM(), pair.Cert...)
	day := 24 * time.Hour
	for after, due := range map[time.Duration]bool{0: false, 243 * day: false, 244 * day: true, 366 * day: true, 4000 * day: true} {
		if Due(text, time.Now().Add(after)) != due {
			t.Errorf("after %v: %v", after, !due)
		}
	}
	if !Due(a.Cluster.CertPEM(), time.Now()) || !Due([]byte("garbled"), time.Now()) || !Due(certPEM([]byte("garbled")), time.Now()) {
		t.Error("what cannot be read is not due")
	}
}
