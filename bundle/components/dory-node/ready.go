package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http"
	"net/url"
	"os"
	"time"
)

// An API server on the same node can be asked often: a refused connection costs next to nothing, and once it listens the
// connection is kept.
const askEvery = 100 * time.Millisecond

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
		if response, err := client.Get(address); err == nil {
			response.Body.Close()
			if response.StatusCode == http.StatusOK {
				return nil
			}
		}
		time.Sleep(askEvery)
	}
}
