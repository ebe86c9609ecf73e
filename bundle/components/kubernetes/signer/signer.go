// Package signer signs service-account tokens for kube-apiserver, in its own process, as its "external signer"
// (k8s.io/externaljwt, KEP-740). Keys that the API server is given as files are read once; these are read again whenever
// they change, so that a forked cluster gets a key of its own without a restart.
package signer

import (
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"
	"k8s.io/externaljwt/apis/v1"
)

const (
	// Tokens of a key that is no longer there are refused after this long; ones of a new key are taken at once.
	refreshSeconds = 5
	// What the API server allows without an external signer: 2^32 seconds.
	longestToken = 1 << 32
)

// Signer is the service. Private is the file of the ECDSA P-256 key that signs, PEM. Previous is a file with a public key
// whose tokens are still good; it may be absent.
type Signer struct {
	v1.UnimplementedExternalJWTSignerServer
	Private, Previous string
}

// Serve listens on a unix socket that only its owner can open, and serves from then on.
func (s *Signer) Serve(socket string) error {
	if _, _, err := s.key(); err != nil {
		return err
	}
	if err := os.Remove(socket); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	listener, err := net.Listen("unix", socket)
	if err != nil {
		return err
	}
	if err := os.Chmod(socket, 0o600); err != nil {
		return err
	}
	server := grpc.NewServer()
	v1.RegisterExternalJWTSignerServer(server, s)
	go server.Serve(listener) // until the process ends
	return nil
}

// Sign implements the service: ES256 of RFC 7518.
func (s *Signer) Sign(_ context.Context, request *v1.SignJWTRequest) (*v1.SignJWTResponse, error) {
	key, _, err := s.key()
	if err != nil {
		return nil, err
	}
	id, _, err := describe(&key.PublicKey)
	if err != nil {
		return nil, err
	}
	header, err := json.Marshal(map[string]string{"alg": "ES256", "kid": id, "typ": "JWT"})
	if err != nil {
		return nil, err
	}
	encoded := base64.RawURLEncoding.EncodeToString(header)
	digest := sha256.Sum256([]byte(encoded + "." + request.Claims))
	r, t, err := ecdsa.Sign(rand.Reader, key, digest[:])
	if err != nil {
		return nil, err
	}
	var signature [64]byte
	r.FillBytes(signature[:32])
	t.FillBytes(signature[32:])
	return &v1.SignJWTResponse{Header: encoded, Signature: base64.RawURLEncoding.EncodeToString(signature[:])}, nil
}

// FetchKeys implements the service.
func (s *Signer) FetchKeys(context.Context, *v1.FetchKeysRequest) (*v1.FetchKeysResponse, error) {
	key, changed, err := s.key()
	if err != nil {
		return nil, err
	}
	public := []*ecdsa.PublicKey{&key.PublicKey}
	if previous := readPublic(s.Previous); previous != nil {
		public = append(public, previous)
	}
	response := &v1.FetchKeysResponse{RefreshHintSeconds: refreshSeconds, DataTimestamp: timestamppb.New(changed)}
	for i, k := range public {
		id, der, err := describe(k)
		if err != nil {
			return nil, err
		}
		response.Keys = append(response.Keys, &v1.Key{KeyId: id, Key: der, ExcludeFromOidcDiscovery: i > 0})
	}
	return response, nil
}

// Metadata implements the service.
func (s *Signer) Metadata(context.Context, *v1.MetadataRequest) (*v1.MetadataResponse, error) {
	return &v1.MetadataResponse{MaxTokenExpirationSeconds: longestToken}, nil
}

// key reads the key that signs; changed is when its file was written.
func (s *Signer) key() (key *ecdsa.PrivateKey, changed time.Time, err error) {
	block, err := readPEM(s.Private)
	if err != nil {
		return nil, changed, err
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block)
	if err != nil {
		return nil, changed, fmt.Errorf("read %s: %w", s.Private, err)
	}
	key, ok := parsed.(*ecdsa.PrivateKey)
	if !ok {
		return nil, changed, fmt.Errorf("read %s: not an ECDSA key", s.Private)
	}
	info, err := os.Stat(s.Private)
	if err != nil {
		return nil, changed, err
	}
	return key, info.ModTime(), nil
}

// readPublic returns nil if there is no such key: then its tokens are good no more.
func readPublic(path string) *ecdsa.PublicKey {
	block, err := readPEM(path)
	if err != nil {
		return nil
	}
	parsed, err := x509.ParsePKIXPublicKey(block)
	if err != nil {
		return nil
	}
	key, _ := parsed.(*ecdsa.PublicKey)
	return key
}

func readPEM(path string) ([]byte, error) {
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

// describe returns a key's name, which is upstream's for it (keyIDFromPublicKey in k8s.io/kubernetes/pkg/serviceaccount),
// and its PKIX form.
func describe(key *ecdsa.PublicKey) (id string, der []byte, err error) {
	der, err = x509.MarshalPKIXPublicKey(key)
	sum := sha256.Sum256(der)
	return base64.RawURLEncoding.EncodeToString(sum[:]), der, err
}
