package kube

import (
	"context"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dorykube/dory/provision/pki"
)

// client returns a client of a server that answers by h.
func client(t *testing.T, h http.HandlerFunc) *Cluster {
	t.Helper()
	server := httptest.NewTLSServer(h)
	t.Cleanup(server.Close)
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	authority, err := pki.New()
	if err != nil {
		t.Fatal(err)
	}
	_, cert, key, err := authority.AdminKubeconfigAuth()
	if err != nil {
		t.Fatal(err)
	}
	c, err := Client(ca, cert, key, server.URL)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestReadyNamesTheFailingChecks(t *testing.T) {
	c := client(t, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusInternalServerError)
		fmt.Fprint(w, "[+]ping ok\n[-]poststarthook/rbac/bootstrap-roles failed: not finished\n")
	})
	err := c.Ready(t.Context())
	if err == nil || !strings.Contains(err.Error(), "rbac/bootstrap-roles") || strings.Contains(err.Error(), "ping") {
		t.Errorf("got %v", err)
	}
}

func TestWaitReadyTellsTheLastReason(t *testing.T) {
	c := client(t, func(w http.ResponseWriter, r *http.Request) { http.Error(w, "[-]etcd failed", 500) })
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if err := c.WaitReady(ctx); err == nil || !strings.Contains(err.Error(), "etcd failed") {
		t.Errorf("got %v", err)
	}
}

func node(ready string) string {
	return fmt.Sprintf(`{"apiVersion":"v1","kind":"Node","metadata":{"name":"n","resourceVersion":"2"},"status":{"conditions":[{"type":"Ready","status":%q,"message":"because"}]}}`, ready)
}

// TestWaitFollowsTheWatch lists an unready node, and hears by the watch that it is ready; the first watch is cut.
func TestWaitFollowsTheWatch(t *testing.T) {
	var watches int
	c := client(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		switch {
		case r.URL.Path == "/readyz":
		case r.URL.Query().Get("watch") == "":
			fmt.Fprintf(w, `{"apiVersion":"v1","kind":"NodeList","metadata":{"resourceVersion":"1"},"items":[%s]}`, node("False"))
		default:
			if watches++; watches > 1 {
				fmt.Fprintf(w, `{"type":"MODIFIED","object":%s}`, node("True"))
			}
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := c.Wait(ctx, []string{"node_ready"}); err != nil || watches != 2 {
		t.Errorf("%v after %d watches", err, watches)
	}
}

func TestWaitTellsWhatIsMissing(t *testing.T) {
	c := client(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		switch {
		case r.URL.Path == "/readyz":
		case r.URL.Query().Get("watch") != "":
			<-r.Context().Done()
		default:
			fmt.Fprintf(w, `{"apiVersion":"v1","kind":"NodeList","metadata":{"resourceVersion":"1"},"items":[%s]}`, node("False"))
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if err := c.Wait(ctx, []string{"node_ready"}); err == nil || !strings.Contains(err.Error(), "node n is not Ready: because") {
		t.Errorf("got %v", err)
	}
}

// A node that is there, but whose kubelet has not been heard of for a while, is waited for.
func TestWaitNodeWaitsForTheKubelet(t *testing.T) {
	c := client(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		switch {
		case r.URL.Path == "/readyz":
		case r.URL.Query().Get("watch") == "":
			fmt.Fprintf(w, `{"apiVersion":"v1","kind":"NodeList","metadata":{"resourceVersion":"1"},"items":[%s]}`, node("Unknown"))
		default:
			<-r.Context().Done()
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if err := c.WaitNode(ctx, "n"); err == nil || !strings.Contains(err.Error(), "stopped reporting") {
		t.Errorf("got %v", err)
	}
}

func TestApplySendsNamespacesFirst(t *testing.T) {
	var (
		mu    sync.Mutex
		paths []string
	)
	c := client(t, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		paths = append(paths, r.Method+" "+r.URL.Path)
		mu.Unlock()
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("Content-Type", "application/json")
		w.Write(body)
	})
	err := c.Apply(t.Context(), []byte(`
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: a, namespace: b}
---
apiVersion: v1
kind: Namespace
metadata: {name: b}
---
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {name: standard}
`))
	if err != nil {
		t.Fatal(err)
	}
	if paths[0] != "PATCH /api/v1/namespaces/b" {
		t.Errorf("first came %s", paths[0])
	}
	for _, want := range []string{"PATCH /apis/networking.k8s.io/v1/namespaces/b/networkpolicies/a", "PATCH /apis/storage.k8s.io/v1/storageclasses/standard"} {
		if !slices.Contains(paths, want) {
			t.Errorf("no %s in %v", want, paths)
		}
	}
}

func TestApplyIsTriedAgainWhenTheServerGaveUp(t *testing.T) {
	tries := 0
	c := client(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("Content-Type", "application/json")
		if tries++; tries < 3 {
			w.WriteHeader(http.StatusGatewayTimeout)
			io.WriteString(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Timeout","message":"request did not complete","code":504}`)
			return
		}
		w.Write(body)
	})
	const class = "{apiVersion: storage.k8s.io/v1, kind: StorageClass, metadata: {name: standard}}"
	if err := c.Apply(t.Context(), []byte(class)); err != nil || tries != 3 {
		t.Errorf("%v after %d tries", err, tries)
	}
}

func TestParseWait(t *testing.T) {
	for text, want := range map[string]int{"all": 4, "extra,apps_running": 1, "none": 0, "false": 0, "true": 2, "": 2, "apiserver, node_ready": 2} {
		if got, err := ParseWait(text); err != nil || len(got) != want {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
	if _, err := ParseWait("apiserver,everything"); err == nil {
		t.Error("a word that means nothing is accepted")
	}
}
