// Package signer signs service-account tokens for kube-apiserver, in its own process, as its "external signer"
// (k8s.io/externaljwt, KEP-740). Keys that the API server is given as files are read once; these are read again whenever
// they change, so that a forked cluster gets a key of its own without a restart.
package signer

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"
	"k8s.io/client-go/util/keyutil"
	"k8s.io/externaljwt/apis/v1"
)

const (
	// Tokens of a key that is no longer there are refused after this long; ones of a new key are taken at once.
	refreshSeconds = 5
	// What the API server allows without an external signer: 2^32 seconds.
	longestToken = 1 << 32
)

// Signer is the service. Private is the file of the ECDSA P-256 key that signs, PEM. Previous is a file with public keys
// whose tokens are still good, which may be absent; Added are files whose keys count like the signer's own. None of the files
// is remembered, by its time and size for instance: keys of one kind have one size, and files out of an archive one time.
type Signer struct {
	v1.UnimplementedExternalJWTSignerServer
	Private, Previous string
	Added             []string
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
	response := &v1.FetchKeysResponse{RefreshHintSeconds: refreshSeconds, DataTimestamp: timestamppb.New(changed)}
	add := func(hidden bool, public ...any) error {
		for _, k := range public {
			id, der, err := describe(k)
			if err != nil {
				return err
			}
			response.Keys = append(response.Keys, &v1.Key{KeyId: id, Key: der, ExcludeFromOidcDiscovery: hidden})
		}
		return nil
	}
	if err := add(false, &key.PublicKey); err != nil {
		return nil, err
	}
	for _, path := range s.Added {
		public, err := keyutil.PublicKeysFromFile(path)
		if err := errors.Join(err, add(false, public...)); err != nil {
			return nil, err
		}
	}
	previous, _ := keyutil.PublicKeysFromFile(s.Previous) // without the file, its tokens are good no more
	return response, add(true, previous...)
}

// Metadata implements the service.
func (s *Signer) Metadata(context.Context, *v1.MetadataRequest) (*v1.MetadataResponse, error) {
	return &v1.MetadataResponse{MaxTokenExpirationSeconds: longestToken}, nil
}

// key reads the key that signs; changed is when its file was written.
func (s *Signer) key() (key *ecdsa.PrivateKey, changed time.Time, err error) {
	parsed, err := keyutil.PrivateKeyFromFile(s.Private)
	if err != nil {
		return nil, changed, err
	}
	key, ok := parsed.(*ecdsa.PrivateKey)
	if !ok || key.Curve != elliptic.P256() {
		return nil, changed, fmt.Errorf("read %s: not an ECDSA key of P-256", s.Private)
	}
	info, err := os.Stat(s.Private)
	if err != nil {
		return nil, changed, err
	}
	return key, info.ModTime(), nil
}

// describe returns a key's name, which is upstream's for it (keyIDFromPublicKey in k8s.io/kubernetes/pkg/serviceaccount),
// and its PKIX form.
func describe(key any) (id string, der []byte, err error) {
	der, err = x509.MarshalPKIXPublicKey(key)
	sum := sha256.Sum256(der)
	return base64.RawURLEncoding.EncodeToString(sum[:]), der, err
}
