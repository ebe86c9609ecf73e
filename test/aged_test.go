//go:build vm

package test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// age is how old templates look that are made with agedQEMU: their guests' clock, certificates' use and tokens.
const age = 365 * 24 * time.Hour

// agedQEMU writes a QEMU that makes templates a year old: the machine on which one is made, which is told by the directory that
// QEMU works in, boots with an RTC that is behind, and no other does. Forks are given their template's clock. The script is part of
// the templates' key, and so is written once for all that share one.
func agedQEMU(path string) error {
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	return os.WriteFile(path, fmt.Appendf(nil, `#!/bin/sh
case $PWD in
*/cache/templates/*) set -- "$@" -rtc base=%s ;;
esac
exec qemu-system-x86_64 "$@"
`, time.Now().UTC().Add(-age).Format("2006-01-02T15:04:05")), 0o700)
}

// templateIsOld makes sure that the test is one: the template's journal has its time. Not all of what it made has: systemd begins with
// the time of its own build, where that is later, and the node follows its RTC 20 s later.
func templateIsOld(t *testing.T, d *dory) {
	first := d.in("one", "journalctl -o short-unix --no-pager | grep -oE '^[0-9]{9,}' | sort -n | head -n 1")
	seconds, err := strconv.ParseInt(first, 10, 64)
	if old := time.Since(time.Unix(seconds, 0)); err != nil || old < age-24*time.Hour {
		t.Errorf("the template's journal begins %v ago (%v)", old, err)
	}
}

// timeGoesOn looks at what lives by the clock in a cluster whose clock was stepped by a year.
func timeGoesOn(t *testing.T, d *dory) {
	d.pipeKubectl("one", `apiVersion: batch/v1
kind: CronJob
metadata: {name: every-minute}
spec:
  schedule: "* * * * *"
  jobTemplate:
    spec:
      template:
        spec:
          restartPolicy: Never
          containers: [{name: main, image: localhost/none, command: [busybox, date]}]
`)
	token := strings.TrimSpace(d.kubectlOf("one", "create", "token", "default"))
	server := d.kubectlOf("one", "config", "view", "--minify", "-o", "jsonpath={.clusters[0].cluster.server}")
	nobody := filepath.Join(t.TempDir(), "empty") // a client certificate would speak louder than the token
	if err := os.WriteFile(nobody, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if who := d.kubectlOf("one", "--kubeconfig", nobody, "--insecure-skip-tls-verify", "--server", strings.TrimSpace(server), "--token", token, "auth", "whoami"); !strings.Contains(who, "system:serviceaccount:default:default") {
		t.Errorf("a new token is %s", who)
	}
	for what, args := range map[string][]string{
		"the node's lease":           {"-n", "kube-node-lease", "get", "lease", "dory", "-o", "jsonpath={.spec.renewTime}"},
		"a new pod's creation":       {"get", "pods", "-l", "app=web", "-o", "jsonpath={.items[0].metadata.creationTimestamp}"},
		"the node's last word on it": {"get", "node", "dory", "-o", `jsonpath={.status.conditions[?(@.type=="Ready")].lastHeartbeatTime}`},
		"a new pod's logs":           {"logs", "deploy/speaks", "--timestamps", "--tail=1"},
	} {
		if strings.Contains(what, "logs") {
			d.kubectlOf("one", "create", "deployment", "speaks", "--image="+d.image("one"), "--", "busybox", "sh", "-c", "echo; sleep 86400")
			d.kubectlOf("one", "rollout", "status", "deployment/speaks", "--timeout=5m")
		}
		said, _, _ := strings.Cut(strings.TrimSpace(d.kubectlOf("one", args...)), " ")
		at, err := time.Parse(time.RFC3339, said)
		if since := time.Since(at); err != nil || since.Abs() > 10*time.Minute {
			t.Errorf("%s: %v ago (%q, %v)", what, since, said, err)
		}
	}
	d.eventually("a cron job runs", 5*time.Minute, func() error {
		if jobs := d.kubectlOf("one", "get", "jobs", "-o", "jsonpath={.items[*].status.succeeded}"); !strings.Contains(jobs, "1") {
			return errorString("none has succeeded: " + jobs)
		}
		return nil
	})
	d.kubectlOf("one", "delete", "cronjob", "every-minute", "--cascade=foreground") // its pods are not among those that must stay
	// Once the clock is right the node does not leave Ready: since its template's last word it says the same. Later it may, if this
	// computer is so busy that no heartbeat comes through.
	forked := d.created("one")
	for stamp := range strings.FieldsSeq(d.kubectlOf("one", "get", "events", "-A", "--field-selector", "reason=NodeNotReady", "-o", "jsonpath={.items[*].lastTimestamp}")) {
		if at, err := time.Parse(time.RFC3339, stamp); err != nil || at.Sub(forked) < 2*time.Minute {
			t.Errorf("the node was not Ready %v after the fork (%v)", at.Sub(forked), err)
		}
	}
}

// created is when a cluster's record was first written.
func (d *dory) created(name string) time.Time {
	d.t.Helper()
	text, err := os.ReadFile(filepath.Join(d.home, "state", "clusters", name, "cluster.json"))
	if err != nil {
		d.t.Fatal(err)
	}
	var record struct{ Created time.Time }
	if err := json.Unmarshal(text, &record); err != nil || record.Created.IsZero() {
		d.t.Fatalf("%v, %s", err, text)
	}
	return record.Created
}
