// Package pki makes a cluster's keys and certificates. The certificate authorities and the service-account key live on
// this computer, in the cluster's directory; a node is given certificates, and of the authorities' private keys only the one that
// signs what users ask the cluster for.
//
// Everything is ECDSA P-256: a signature costs a tenth of RSA's, which counts in an emulated guest.
package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/dorykube/dory/internal/atomicfile"
)

// Authority is what a cluster's trust hangs on.
type Authority struct {
	Cluster        *CA // signs API server, kubelet, component and user certificates
	FrontProxy     *CA // signs the certificate by which the API server is known to extension API servers
	Requests       *CA // signs CertificateSigningRequests, on the node; the cluster trusts it like Cluster, this computer does not
	ServiceAccount *ecdsa.PrivateKey
}

// CA is a certificate authority.
type CA struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// Lifetimes. A CA outlives any cluster; leaves are made anew whenever a node is provisioned.
const (
	caLife   = 10 * 365 * 24 * time.Hour
	leafLife = 365 * 24 * time.Hour
	// Clocks differ, by a year where a battery is empty: what limits a certificate is its end.
	backdate = 400 * 24 * time.Hour
)

// File names in an authority's directory.
const (
	clusterName    = "ca"
	frontProxyName = "front-proxy-ca"
	requestsName   = "requests-ca"
	accountFile    = "service-account.key"
	keySuffix      = ".key"
	certSuffix     = ".crt"
)

// Open reads the authority in dir, or makes one if dir is absent or empty. The directory is 0700, the files are 0600.
// An authority of which something is missing or unreadable is an error and is left as it is.
func Open(dir string) (*Authority, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	if _, err := os.Stat(filepath.Join(dir, accountFile)); errors.Is(err, fs.ErrNotExist) {
		return create(dir)
	}
	return load(dir)
}

// create writes the service-account key last: its presence means that the authority is whole.
func create(dir string) (*Authority, error) {
	a, err := New()
	if err != nil {
		return nil, err
	}
	for name, ca := range map[string]*CA{clusterName: a.Cluster, frontProxyName: a.FrontProxy, requestsName: a.Requests} {
		if err := writeCA(dir, name, ca); err != nil {
			return nil, err
		}
	}
	return a, write(dir, accountFile, keyPEM(a.ServiceAccount))
}

func writeCA(dir, name string, ca *CA) error {
	if err := write(dir, name+keySuffix, keyPEM(ca.key)); err != nil {
		return err
	}
	return write(dir, name+certSuffix, ca.CertPEM())
}

// New makes an authority that exists in memory only.
func New() (*Authority, error) {
	cluster, err := newCA("kubernetes")
	if err != nil {
		return nil, err
	}
	proxy, err := newCA("front-proxy-ca")
	if err != nil {
		return nil, err
	}
	requests, err := newRequestsCA()
	if err != nil {
		return nil, err
	}
	account, err := newKey()
	return &Authority{cluster, proxy, requests, account}, err
}

func load(dir string) (*Authority, error) {
	cluster, err := loadCA(dir, clusterName)
	if err != nil {
		return nil, err
	}
	proxy, err := loadCA(dir, frontProxyName)
	if err != nil {
		return nil, err
	}
	requests, err := loadRequestsCA(dir)
	if err != nil {
		return nil, err
	}
	account, err := loadKey(filepath.Join(dir, accountFile))
	return &Authority{cluster, proxy, requests, account}, err
}

// loadRequestsCA makes the one that an older dory's authorities lack. Its certificate is written last.
func loadRequestsCA(dir string) (*CA, error) {
	if _, err := os.Stat(filepath.Join(dir, requestsName+certSuffix)); !errors.Is(err, fs.ErrNotExist) {
		return loadCA(dir, requestsName)
	}
	ca, err := newRequestsCA()
	if err != nil {
		return nil, err
	}
	return ca, writeCA(dir, requestsName, ca)
}

func loadCA(dir, name string) (*CA, error) {
	key, err := loadKey(filepath.Join(dir, name+keySuffix))
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, name+certSuffix)
	block, err := loadPEM(path)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(block)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	if !key.PublicKey.Equal(cert.PublicKey) {
		return nil, fmt.Errorf("read %s: the certificate does not belong to the key beside it", path)
	}
	return &CA{cert: cert, key: key}, nil
}

// newRequestsCA has a name of its own: whoever verifies finds the authority of a certificate by its name.
func newRequestsCA() (*CA, error) { return newCA("kubernetes-requests") }

func loadKey(path string) (*ecdsa.PrivateKey, error) {
	block, err := loadPEM(path)
	if err != nil {
		return nil, err
	}
	key, err := x509.ParsePKCS8PrivateKey(block)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	ec, ok := key.(*ecdsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("read %s: not an ECDSA key", path)
	}
	return ec, nil
}

func loadPEM(path string) ([]byte, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, fmt.Errorf("read %s: not a PEM file", path)
	}
	return block.Bytes, nil
}

func write(dir, name string, content []byte) error {
	return atomicfile.Write(filepath.Join(dir, name), content, 0o600)
}

func newKey() (*ecdsa.PrivateKey, error) { return ecdsa.GenerateKey(elliptic.P256(), rand.Reader) }

func keyPEM(key *ecdsa.PrivateKey) []byte {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		panic(err) // a key that this package made always marshals
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

func publicPEM(key crypto.PublicKey) []byte {
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		panic(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}
