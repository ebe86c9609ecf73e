//go:build vm

package test

import (
	"strings"
	"testing"
)

// The volume of keys is in memory: its owners must be mapped too, which kernels before 6.3 cannot do.
const usersManifest = `
apiVersion: v1
kind: Secret
metadata: {name: key}
stringData: {key: secret}
---
apiVersion: v1
kind: Pod
metadata: {name: users}
spec:
  hostUsers: false
  containers:
    - name: users
      image: dory.test/busybox:1
      imagePullPolicy: Never
      command: [sleep, "1000000"]
      volumeMounts: [{name: key, mountPath: /key}, {name: scratch, mountPath: /scratch}]
  volumes:
    - {name: key, secret: {secretName: key}}
    - {name: scratch, emptyDir: {medium: Memory}}
`

// ownUsers runs a pod with hostUsers: false: root in it is somebody else on the node.
func ownUsers(t *testing.T, d *dory) {
	d.apply(usersManifest)
	d.kubectl("wait", "pod/users", "--for=condition=Ready", "--timeout=5m")
	inside := strings.TrimSpace(d.kubectl("exec", "users", "--", "sh", "-c", "id -u; cat /key/key; echo; touch /scratch/mine; stat -c %u /scratch/mine /key/..data/key"))
	if inside != "0\nsecret\n0\n0" {
		t.Errorf("in the pod: %q", inside)
	}
	mapped := strings.Fields(d.kubectl("exec", "users", "--", "cat", "/proc/self/uid_map"))
	if len(mapped) != 3 || mapped[0] != "0" || mapped[1] == "0" || mapped[2] != "65536" {
		t.Errorf("the pod's users are %v", mapped)
	}
	if owner := strings.TrimSpace(d.must(commandLimit, "ssh", "--", "stat -c %u /proc/$(pgrep -n -f '^sleep 1000000')")); len(mapped) == 3 && owner != mapped[1] {
		t.Errorf("on the node the pod runs as user %s, its map is %v", owner, mapped)
	}
	d.kubectl("delete", "pod/users", "--now")
}
