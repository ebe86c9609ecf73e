// Package kube is what dory asks of a cluster's API server: is it ready, apply this, wait for that.
//
// It works with unstructured objects: the typed clients would bring the schema of all of Kubernetes into a program that
// starts for every command.
package kube

import (
	"context"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
)

// Cluster is a client of one cluster's API server.
type Cluster struct {
	server  string // https://host:port
	http    *http.Client
	dynamic dynamic.Interface
}

// Client returns a client that authenticates by certificate; all PEM. It does not connect yet.
func Client(ca, cert, key []byte, server string) (*Cluster, error) {
	config := &rest.Config{
		Host:            server,
		TLSClientConfig: rest.TLSClientConfig{CAData: ca, CertData: cert, KeyData: key},
		QPS:             -1, // no limit: there is one server, and it is ours
		UserAgent:       "dory",
	}
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, err
	}
	dyn, err := dynamic.NewForConfigAndClient(config, client)
	return &Cluster{server: server, http: client, dynamic: dyn}, err
}

// Ready asks once whether the API server is ready. The error says which of its checks are not.
func (c *Cluster) Ready(ctx context.Context) error {
	body, err := c.Get(ctx, "/readyz?verbose")
	if err == nil {
		return nil
	}
	var failing []string
	for line := range strings.Lines(body) {
		if strings.HasPrefix(line, "[-]") {
			failing = append(failing, strings.TrimSpace(line))
		}
	}
	if failing != nil {
		return fmt.Errorf("not ready: %s", strings.Join(failing, "; "))
	}
	return err
}

// ErrNotFound is an object that is not there.
var ErrNotFound = errors.New("404 Not Found")

// Get reads a path of the API server. On a status other than 200 the body is returned with the error.
func (c *Cluster) Get(ctx context.Context, path string) (string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, c.server+path, nil)
	if err != nil {
		return "", err
	}
	response, err := c.http.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode == http.StatusNotFound {
		err = fmt.Errorf("%s: %w", path, ErrNotFound)
	} else if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", path, response.Status)
	}
	return string(body), err
}

// Clock asks what time it is where the API server runs, to the second.
func (c *Cluster) Clock(ctx context.Context) (time.Time, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodHead, c.server+"/livez", nil)
	if err != nil {
		return time.Time{}, err
	}
	response, err := c.http.Do(request)
	if err != nil {
		return time.Time{}, err
	}
	response.Body.Close()
	return http.ParseTime(response.Header.Get("Date"))
}

// Certificate is the certificate that the API server shows, PEM, whatever it is worth: nothing is told to a server that may
// be another one.
func (c *Cluster) Certificate(ctx context.Context) ([]byte, error) {
	dialer := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12}}
	conn, err := dialer.DialContext(ctx, "tcp", strings.TrimPrefix(c.server, "https://"))
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	shown := conn.(*tls.Conn).ConnectionState().PeerCertificates[0]
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: shown.Raw}), nil
}

// A server that does not answer yet cannot be watched, so it is asked again and again; but an answer may cost a slow server
// 100 ms of processor time that it needs for getting ready. So the pause grows with what the last answer took.
const (
	shortestPause = 50 * time.Millisecond
	longestPause  = time.Second
	pauseFactor   = 4
)

// WaitTrusted returns when the API server shows a certificate of our authority and takes ours. Whether it is ready is
// another question.
func (c *Cluster) WaitTrusted(ctx context.Context) error {
	for {
		_, err := c.Get(ctx, "/version")
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for the API server: %w", errors.Join(ctx.Err(), err))
		case <-time.After(shortestPause):
		}
	}
}

// WaitReady returns when the API server is ready. If ctx ends before, the error has the last reason.
func (c *Cluster) WaitReady(ctx context.Context) error {
	var last error
	for {
		asked := time.Now()
		err := c.Ready(ctx)
		if err == nil {
			return nil
		}
		if last == nil || ctx.Err() == nil { // that time ran out says less than what was the matter before
			last = err
		}
		pause := min(max(pauseFactor*time.Since(asked), shortestPause), longestPause)
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for the API server: %w", errors.Join(ctx.Err(), last))
		case <-time.After(pause):
		}
	}
}
