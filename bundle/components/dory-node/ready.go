package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net/http"
	"net/url"
	"os"
	"time"
)

// A refused connection costs next to nothing; an answer of a server that is still starting takes processor time from it,
// so the pause grows with what the last one took.
const (
	shortestPause = 100 * time.Millisecond
	longestPause  = time.Second
	pauseFactor   = 4
)

// waitReady returns when a GET of the address answers 200. It has no limit of its own: systemd has one.
func waitReady(address, caFile string) error {
	if _, err := url.Parse(address); err != nil {
		return err
	}
	ca, err := os.ReadFile(caFile)
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(ca) {
		return errors.New(caFile + ": no certificate in it")
	}
	client := &http.Client{
		Timeout:   5 * time.Second,
		Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}},
	}
	for {
		asked := time.Now()
		if response, err := client.Get(address); err == nil {
			io.Copy(io.Discard, response.Body) // or the connection could not be used again
			response.Body.Close()
			if response.StatusCode == http.StatusOK {
				return nil
			}
		}
		time.Sleep(min(max(pauseFactor*time.Since(asked), shortestPause), longestPause))
	}
}
