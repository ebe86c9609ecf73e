package pki

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"time"
)

// Leaf says what a certificate is for.
type Leaf struct {
	Name   string   // common name: the user, or the server
	Groups []string // organizations: the user's groups
	// DNSNames and IPs make it a server's certificate; without any it is a client's.
	DNSNames []string
	IPs      []net.IP
}

// Pair is a certificate and its private key, both PEM.
type Pair struct{ Cert, Key []byte }

func newCA(name string) (*CA, error) {
	key, err := newKey()
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber:          serial(),
		Subject:               pkix.Name{CommonName: name},
		NotBefore:             time.Now().Add(-backdate),
		NotAfter:              time.Now().Add(caLife),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		IsCA:                  true,
		BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	return &CA{cert: cert, key: key}, err
}

// CertPEM is the authority's own certificate.
func (ca *CA) CertPEM() []byte { return certPEM(ca.cert.Raw) }

// Pair is the authority's own certificate and key.
func (ca *CA) Pair() Pair { return Pair{ca.CertPEM(), keyPEM(ca.key)} }

// TrustedPEM is what is trusted inside of the cluster.
func (a *Authority) TrustedPEM() []byte { return append(a.Cluster.CertPEM(), a.Requests.CertPEM()...) }

// Issue makes a key and a certificate for it.
func (ca *CA) Issue(leaf Leaf) (Pair, error) {
	key, err := newKey()
	if err != nil {
		return Pair{}, err
	}
	usage := x509.ExtKeyUsageClientAuth
	if len(leaf.DNSNames)+len(leaf.IPs) > 0 {
		usage = x509.ExtKeyUsageServerAuth
	}
	template := &x509.Certificate{
		SerialNumber: serial(),
		Subject:      pkix.Name{CommonName: leaf.Name, Organization: leaf.Groups},
		NotBefore:    time.Now().Add(-backdate),
		NotAfter:     time.Now().Add(leafLife),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{usage},
		DNSNames:     leaf.DNSNames,
		IPAddresses:  leaf.IPs,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, ca.cert, key.Public(), ca.key)
	if err != nil {
		return Pair{}, err
	}
	return Pair{Cert: certPEM(der), Key: keyPEM(key)}, nil
}

// Due reports whether it is time for new certificates: one of those in the PEM text, authorities aside, has less than a third
// of its life left, or cannot be read. No certificate at all is one that cannot be read.
func Due(text []byte, now time.Time) bool {
	leaves := 0
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			return leaves == 0
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		switch {
		case err != nil:
			return true
		case cert.IsCA:
			continue
		case cert.NotAfter.Sub(now) < leafLife/3:
			return true
		}
		leaves++
	}
}

// AdminKubeconfigAuth makes what a kubeconfig of the cluster's administrator holds, all PEM.
func (a *Authority) AdminKubeconfigAuth() (ca, cert, key []byte, err error) {
	pair, err := a.Cluster.Issue(Leaf{Name: "kubernetes-admin", Groups: []string{"system:masters"}})
	return a.Cluster.CertPEM(), pair.Cert, pair.Key, err
}

// ServiceAccountPEM is the key that signs service-account tokens, and its public half.
func (a *Authority) ServiceAccountPEM() Pair {
	return Pair{Cert: publicPEM(a.ServiceAccount.Public().(*ecdsa.PublicKey)), Key: keyPEM(a.ServiceAccount)}
}

func certPEM(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// serial is 128 random bits, as RFC 5280 asks for at most 20 octets and the CA/Browser Forum for at least 64 random bits.
func serial() *big.Int {
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 128))
	if err != nil {
		panic(err) // crypto/rand does not fail on the platforms that Go supports
	}
	return n
}
