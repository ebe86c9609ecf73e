package redact

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
)

// keys are private keys in PEM, of all kinds that dory and Kubernetes write.
func keys(t *testing.T) map[string]string {
	t.Helper()
	r, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	e, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	_, d, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	blocks := map[string]*pem.Block{"RSA": {Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(r)}}
	for name, key := range map[string]any{"RSA in PKCS 8": r, "EC in PKCS 8": e, "Ed25519 in PKCS 8": d} {
		text, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		blocks[name] = &pem.Block{Type: "PRIVATE KEY", Bytes: text}
	}
	text, err := x509.MarshalECPrivateKey(e)
	if err != nil {
		t.Fatal(err)
	}
	blocks["EC"] = &pem.Block{Type: "EC PRIVATE KEY", Bytes: text}
	for name, key := range map[string]any{"OPENSSH Ed25519": d, "OPENSSH RSA": r} {
		if blocks[name], err = ssh.MarshalPrivateKey(key, "root@dory"); err != nil {
			t.Fatal(err)
		}
	}
	all := map[string]string{}
	for name, block := range blocks {
		all[name] = string(pem.EncodeToMemory(block))
	}
	return all
}

// body are the lines of a key.
func body(key string) (lines []string) {
	for line := range strings.Lines(key) {
		if !strings.HasPrefix(line, "-----") {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	return lines
}

func journal(text string) string {
	var out strings.Builder
	for line := range strings.Lines(text) {
		out.WriteString("2026-11-25T10:00:00+0000 dory logger[812]: " + line)
	}
	return out.String()
}

func TestNoPartOfAPrivateKeyIsLeft(t *testing.T) {
	for kind, key := range keys(t) {
		lines := strings.SplitAfter(strings.TrimSpace(key)+"\n", "\n")
		asJSON, _ := json.Marshal(map[string]string{"msg": "read " + key})
		for how, text := range map[string]string{
			"as it is":           key,
			"with CR":            strings.ReplaceAll(key, "\n", "\r\n"),
			"in a journal":       journal(key),
			"in JSON":            string(asJSON) + "\n",
			"quoted with %q":     fmt.Sprintf("key=%q\n", key),
			"without its end":    strings.Join(lines[:len(lines)-2], ""),
			"without its head":   strings.Join(lines[1:], ""),
			"journal, no end":    journal(strings.Join(lines[:len(lines)-2], "")),
			"journal, no head":   journal(strings.Join(lines[1:], "")),
			"indented":           "data: |\n    " + strings.ReplaceAll(key, "\n", "\n    ") + "\n",
			"base64, kubeconfig": "    client-key-data: " + base64.StdEncoding.EncodeToString([]byte(key)) + "\n",
			"base64, alone":      "x " + base64.StdEncoding.EncodeToString([]byte(key)) + " y\n",
		} {
			got := New().Text("before\n" + text + "after\n")
			if strings.Contains(got, "PRIVATE KEY") {
				t.Errorf("%s %s:\n%s", kind, how, got)
			}
			for _, line := range append(body(key), base64.StdEncoding.EncodeToString([]byte(key))[:40]) {
				if strings.Contains(got, line[:min(len(line), 24)]) && len(line) > 4 {
					t.Errorf("%s %s: %q is left in\n%s", kind, how, line, got)
				}
			}
			if !strings.Contains(got, "before") || !strings.Contains(got, "after") || !strings.Contains(got, "[left out: ") {
				t.Errorf("%s %s: became\n%s", kind, how, got)
			}
		}
	}
}

func TestKnownKeysAreFoundInPieces(t *testing.T) {
	for kind, key := range keys(t) {
		r := New(key)
		for _, line := range body(key) {
			if len(line) < shortestKnown {
				continue
			}
			if got := r.Text("a piece/" + line + "/of it"); strings.Contains(got, line) {
				t.Errorf("%s: %q", kind, got)
			}
		}
	}
}

func TestTokensAndPasswords(t *testing.T) {
	part := func(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }
	jwt := part(`{"alg":"RS256","kid":"abc"}`) + "." + part(`{"iss":"https://kubernetes.default.svc.cluster.local","sub":"system:serviceaccount:default:default"}`) + "." + part(strings.Repeat("signature", 28))
	const word = "Tr0ub4dor"
	for text, secret := range map[string]string{
		"Authorization: Bearer " + jwt:                                           jwt[40:],
		"token " + jwt + " was refused":                                          jwt[40:],
		"cut " + jwt[:100]:                                                       jwt[40:100],
		"the rest " + jwt[100:]:                                                  jwt[100:],
		`{"msg":"{\"token\":\"` + jwt + `\"}"}`:                                  jwt[40:],
		"Authorization: Basic dXNlcjpwYXNz":                                      "dXNlcjpwYXNz",
		`"authorization":"opaque-` + word + `"`:                                  word,
		"curl -H 'Authorization: Bearer short1'":                                 "short1",
		"https://me:" + word + "@registry.example/v2/":                           word,
		"HTTPS_PROXY=http://me:p@" + word + "@proxy:3128":                        word,
		"--password=" + word:                                                     word,
		`password: "two words ` + word + `"`:                                     word,
		`{\"password\": \"` + word + `\"}`:                                       word,
		"DB_PASSWORD='" + word + "'":                                             word,
		"aws_secret_access_key = " + word:                                        word,
		"https://host/path?api_key=" + word + "&x=1":                             word,
		"clientSecret: " + word:                                                  word,
		"    token: abcdef.0123456789abcdef":                                     "0123456789abcdef",
		"kubeadm join --discovery 07401b.f395accd246ae52d":                       "f395accd246ae52d",
		"bootstrapToken=" + word:                                                 word,
		"ghp_0123456789abcdefghijABCDEFGHIJ012345 is a":                          "ghp_0123456789",
		"    client-key-data: " + base64.StdEncoding.EncodeToString([]byte(jwt)): base64.StdEncoding.EncodeToString([]byte(jwt)),
	} {
		if got := New().Text(text); strings.Contains(got, secret) || !strings.Contains(got, "[left out: ") {
			t.Errorf("%s\nbecame %s", text, got)
		}
	}
}

func TestWhatIsNotSecretStays(t *testing.T) {
	for _, text := range []string{
		`I1125 10:00:00.1 1 flags.go:64] FLAG: --tls-private-key-file="/etc/kubernetes/pki/apiserver.key"`,
		`I1125 10:00:00.1 1 flags.go:64] FLAG: --authorization-mode="[Node,RBAC]" --token-auth-file=""`,
		`failed to fetch token: serviceaccounts not found`,
		`ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFe5S2P9Dxn8UaG3n2yWYB8wLJ4hVqXo0kT1mZr7cQdE root@dory`,
		`"hostKey": "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBFe5S2P9Dxn8UaG3n2yWYB8wLJ4hVqXo0kT1mZr7cQdE="`,
		`image sha256:5ebb31dd2277773344f170e4113edd48ee79f4aa523f7493cc93df83bb2a9f81 is there`,
		`cri-containerd-1d8e52be90ecd8a6a4edc4ce0929c3e6f4161b8acace6f3f029b09d8b8a1293f.scope: Deactivated successfully.`,
		`/Users/Jane/Library/Caches/dory/artifacts/bundle-v1.37.2-amd64.img`,
		`/tmp/TestCluster3812345678/001/home/state/clusters/dory/machine/console.log`,
		`https://127.0.0.1:6443/readyz?verbose, https://[::1]:6443/`,
		`secret="kube-system/bootstrap-signer" uid=0b8c7c5e-8f0c-4f6d-9d6e-3f1c2b6a7d80`,
		`E1125 controller.go:10] "Unhandled Error" err="couldn't get resource list for metrics.k8s.io/v1beta1"`,
		`Get "https://10.0.2.15:10250/containerLogs/kube-system/coredns-667976f74c-q2hwq/coredns?tailLines=5000": connection refused`,
		`git@github.com:dorykube/dory.git http://host:8080/a@b`,
	} {
		if got := New().Text(text); got != text {
			t.Errorf("%s\nbecame %s", text, got)
		}
	}
}
