package kube

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

const dnsService = `
apiVersion: v1
kind: Service
metadata: {name: kube-dns, namespace: kube-system}
spec: {clusterIP: 10.96.0.10}
`

// addressServer refuses a Service's address for as long as it has an IPAddress, which belongs to the named Service. It has
// no Service.
func addressServer(t *testing.T, owner string) (c *Cluster, deleted *bool) {
	deleted = new(bool)
	c = client(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		switch {
		case r.Method == http.MethodPatch && !*deleted:
			w.WriteHeader(http.StatusUnprocessableEntity)
			fmt.Fprint(w, `{"kind":"Status","status":"Failure","reason":"Invalid","code":422,"message":"Service \"kube-dns\" is invalid: spec.clusterIPs: failed to allocate IP 10.96.0.10: provided IP is already allocated"}`)
		case r.Method == http.MethodPatch:
			io.Copy(w, r.Body)
		case strings.HasPrefix(r.URL.Path, "/api/v1/"):
			w.WriteHeader(http.StatusNotFound)
			fmt.Fprint(w, `{"kind":"Status","status":"Failure","reason":"NotFound","code":404}`)
		case r.Method == http.MethodDelete:
			if body, _ := io.ReadAll(r.Body); !strings.Contains(string(body), `"uid":"u1"`) {
				t.Errorf("deleted without its uid: %s", body)
			}
			*deleted = true
			fmt.Fprint(w, `{"kind":"Status","apiVersion":"v1","status":"Success"}`)
		default:
			fmt.Fprintf(w, `{"apiVersion":"networking.k8s.io/v1","kind":"IPAddress","metadata":{"name":"10.96.0.10","uid":"u1"},"spec":{"parentRef":{"resource":"services","namespace":"kube-system","name":%q}}}`, owner)
		}
	})
	return c, deleted
}

// TestApplyTakesBackAnAddressWithoutItsService is what a start finds after one that was killed while its Service was made.
func TestApplyTakesBackAnAddressWithoutItsService(t *testing.T) {
	c, deleted := addressServer(t, "kube-dns")
	if err := c.Apply(t.Context(), []byte(dnsService)); err != nil || !*deleted {
		t.Errorf("%v; taken back: %v", err, *deleted)
	}
}

func TestApplyLeavesTheAddressOfAnotherService(t *testing.T) {
	c, deleted := addressServer(t, "somebody-elses")
	if err := c.Apply(t.Context(), []byte(dnsService)); err == nil || !strings.Contains(err.Error(), "somebody-elses") || *deleted {
		t.Errorf("%v; taken back: %v", err, *deleted)
	}
}
