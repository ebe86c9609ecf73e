package signer

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"testing"

	"k8s.io/externaljwt/apis/v1"
)

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func writePEM(t *testing.T, path, kind string, der []byte, err error) {
	t.Helper()
	if err == nil {
		err = os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// A key that is replaced signs at once; the one before is good as long as its file is there, but not published.
func TestKeysAreReadAgain(t *testing.T) {
	dir := t.TempDir()
	s := &Signer{Private: filepath.Join(dir, "key"), Previous: filepath.Join(dir, "previous")}
	if _, err := s.Sign(t.Context(), &v1.SignJWTRequest{}); err == nil {
		t.Error("it signs without a key")
	}
	for _, key := range []*ecdsa.PrivateKey{newKey(t), newKey(t)} {
		der, err := x509.MarshalPKCS8PrivateKey(key)
		writePEM(t, s.Private, "PRIVATE KEY", der, err)
		signed, err := s.Sign(t.Context(), &v1.SignJWTRequest{Claims: "claims"})
		if err != nil {
			t.Fatal(err)
		}
		signature, err := base64.RawURLEncoding.DecodeString(signed.Signature)
		if err != nil || len(signature) != 64 {
			t.Fatalf("a signature of %d bytes: %v", len(signature), err)
		}
		digest := sha256.Sum256([]byte(signed.Header + ".claims"))
		if !ecdsa.Verify(&key.PublicKey, digest[:], new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:])) {
			t.Error("the signature is not this key's")
		}
		text, _ := base64.RawURLEncoding.DecodeString(signed.Header)
		var header map[string]string
		fetched, err := s.FetchKeys(t.Context(), nil)
		if err != nil || json.Unmarshal(text, &header) != nil || len(fetched.Keys) != 1 || header["kid"] != fetched.Keys[0].KeyId || header["alg"] != "ES256" {
			t.Errorf("header %s, keys %v, %v", text, fetched, err)
		}
	}
	der, err := x509.MarshalPKIXPublicKey(&newKey(t).PublicKey)
	writePEM(t, s.Previous, "PUBLIC KEY", der, err)
	fetched, err := s.FetchKeys(t.Context(), nil)
	if err != nil || len(fetched.Keys) != 2 || fetched.Keys[0].ExcludeFromOidcDiscovery || !fetched.Keys[1].ExcludeFromOidcDiscovery {
		t.Errorf("with a previous key: %v, %v", fetched, err)
	}
	s.Added = []string{filepath.Join(dir, "added")}
	if _, err := s.FetchKeys(t.Context(), nil); err == nil {
		t.Error("a user's key that is not there went unnoticed")
	}
	der, err = x509.MarshalPKIXPublicKey(&newKey(t).PublicKey)
	writePEM(t, s.Added[0], "PUBLIC KEY", der, err)
	fetched, err = s.FetchKeys(t.Context(), nil)
	if err != nil || len(fetched.Keys) != 3 || fetched.Keys[1].ExcludeFromOidcDiscovery || !fetched.Keys[2].ExcludeFromOidcDiscovery {
		t.Errorf("with a user's key: %v, %v", fetched, err)
	}
	socket := filepath.Join(dir, "socket")
	if err := s.Serve(socket); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(socket); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the socket: %v, %v", info, err)
	}
}

func TestOnlyP256Signs(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s := &Signer{Private: filepath.Join(t.TempDir(), "key")}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	writePEM(t, s.Private, "PRIVATE KEY", der, err)
	if _, err := s.Sign(t.Context(), &v1.SignJWTRequest{}); err == nil {
		t.Error("a key of another curve signs as ES256")
	}
}
