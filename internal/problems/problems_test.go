package problems

import (
	"strings"
	"testing"
)

// said are lines as programs really write them.
var said = map[string][]string{
	"out-of-memory": {
		`2026-11-25T10:00:00+0000 dory kernel: Out of memory: Killed process 1234 (java) total-vm:4194304kB, anon-rss:2097152kB`,
		`[  812.3] oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=cri-containerd-abc.scope,task=stress`,
		`dory systemd[1]: kubelet.service: A process of this unit has been killed by the OOM killer.`,
		`kubelet[300]: I1125 kubelet.go:2000] "container" reason="OOMKilled"`,
	},
	"host-memory": {`qemu-system-x86_64: cannot set up guest memory 'mem': Cannot allocate memory`},
	"disk-full": {
		`kubelet[300]: E1125 10:00:00.1 kubelet.go:1] "err" err="write /var/lib/x: no space left on device"`,
		`etcd[200]: {"level":"warn","msg":"etcdserver: mvcc: database space exceeded"}`,
	},
	"eviction":             {`kubelet[300]: I1125 eviction_manager.go:376] "Eviction manager: attempting to reclaim" resourceName="ephemeral-storage"`, `"Recording event message for object" event="NodeHasDiskPressure"`},
	"disk-broken":          {`[  99.1] I/O error, dev vda, sector 2048 op 0x0:(READ)`, `[ 100.2] EXT4-fs error (device vda): ext4_find_entry`},
	"kernel-panic":         {`[    1.2] Kernel panic - not syncing: VFS: Unable to mount root fs`},
	"machine-stands-still": {`[  700.1] watchdog: BUG: soft lockup - CPU#1 stuck for 26s! [etcd:200]`, `[  60.0] rcu: INFO: rcu_preempt self-detected stall on CPU`, `INFO: task etcd:200 blocked for more than 120 seconds.`},
	"overloaded":           {`kubelet[671]: E1125 22:36:01.8 671 kubelet.go:2860] "Housekeeping took longer than expected" err="housekeeping took too long" expected="1s" actual="8.488s"`},
	"clock": {
		`err="tls: failed to verify certificate: x509: certificate has expired or is not yet valid: current time 2026-11-25T09:59:00Z is before 2026-11-25T10:00:00Z"`,
		`authentication.go:75] "Unable to authenticate the request" err="[invalid bearer token, token is not valid yet]"`,
	},
	"certificate-expired": {`err="x509: certificate has expired or is not yet valid: current time 2027-11-26T10:00:00Z is after 2027-11-25T10:00:00Z"`},
	"certificate-unknown": {`failed to do request: Head "https://r.example/v2/": tls: failed to verify certificate: x509: certificate signed by unknown authority`},
	"port-in-use": {
		`kube-apiserver[250]: E1125 run.go:72] "command failed" err="failed to create listener: failed to listen on 0.0.0.0:6443: listen tcp 0.0.0.0:6443: bind: address already in use"`,
		`qemu-system-x86_64: -netdev user,id=n0: Could not set up host forwarding rule 'tcp:127.0.0.1:6443-:6443'`,
	},
	"unknown-flag": {
		`kube-scheduler[260]: E1125 run.go:72] "command failed" err="unknown flag: --nonsense"`,
		`kube-apiserver[250]: invalid argument "NoSuch=true" for "--feature-gates" flag: unrecognized feature gate: NoSuch`,
		`kubelet[300]: E1125 run.go:72] "command failed" err="failed to load kubelet config file, path: /etc/kubernetes/kubelet.yaml"`,
	},
	"image-not-found": {
		`kubelet[300]: E1125 log.go:32] "PullImage from image service failed" err="rpc error: code = NotFound desc = failed to pull and unpack image \"docker.io/library/nginx:nope\": failed to resolve reference: docker.io/library/nginx:nope: not found"`,
		`Failed to pull image "private/x": pull access denied, repository does not exist or may require authorization`,
	},
	"registry-limit":  {`httpReadSeeker: failed open: unexpected status code 429 Too Many Requests - Server message: toomanyrequests: You have reached your unauthenticated pull rate limit.`},
	"no-name-service": {`failed to do request: Head "https://registry-1.docker.io/v2/": dial tcp: lookup registry-1.docker.io on 10.0.2.3:53: no such host`, `dial tcp: lookup example.com: i/o timeout`},
	"image-pull":      {`"Error syncing pod, skipping" err="failed to \"StartContainer\" for \"x\" with ImagePullBackOff"`, `ErrImageNeverPull: Container image "x" is not present`},
	"pod-network":     {`"Container runtime network not ready" networkReady="NetworkReady=false reason:NetworkPluginNotReady message:Network plugin returns error: cni plugin not initialized"`},
	"volume":          {`MountVolume.SetUp failed for volume "config" : configmap "x" not found`},
	"crash-loop":      {`"Error syncing pod, skipping" err="failed to \"StartContainer\" with CrashLoopBackOff: \"back-off 5m0s restarting failed container=x\""`},
	"does-not-fit":    {`FailedScheduling 0/1 nodes are available: 1 Insufficient memory.`},
	"too-many-files":  {`accept tcp [::]:6443: accept4: too many open files`},
	"slow-disk":       {`etcd[200]: {"level":"warn","msg":"slow fdatasync","took":"1.7s","expected-duration":"1s"}`},
	"webhook":         {`Internal error occurred: failed calling webhook "v.example.com": no endpoints available for service "x"`},
	"no-kvm":          {`Could not access KVM kernel module: Permission denied`},
	"program-crashed": {`coredns[1]: panic: runtime error: invalid memory address or nil pointer dereference`, `[ 9.9] busybox[77]: segfault at 0 ip 00007f`},
	"unit-fails":      {`systemd[1]: kube-scheduler.service: Start request repeated too quickly.`},
}

func TestEveryProblemIsFoundInWhatProgramsSay(t *testing.T) {
	for _, problem := range table {
		lines := said[problem.Name]
		if len(lines) == 0 {
			t.Errorf("no line that says %s", problem.Name)
		}
		for _, line := range lines {
			known, others := Find([]Log{{"journal", "all is well\n" + line + "\r\nall is well\n"}})
			if len(known) != 1 || known[0] != (Found{problem.Name, problem.Means, problem.Remedy, "journal", line, 1}) || len(others) > 0 {
				t.Errorf("%s: %s\nis %+v, others %q", problem.Name, line, known, others)
			}
		}
		if problem.Means == "" || problem.Remedy == "" || strings.ToLower(problem.Name) != problem.Name {
			t.Errorf("%+v", problem)
		}
	}
	if len(said) != len(table) {
		t.Errorf("%d problems and lines of %d", len(table), len(said))
	}
}

func TestOrdinaryLinesAreNoProblem(t *testing.T) {
	const log = `I1125 10:00:00.123456     250 controller.go:133] "Starting OpenAPI controller"
W1125 10:00:00.123456     250 genericapiserver.go:1] Skipping API apps/v1beta2 because it has no resources.
I1125 10:00:00.1 250 dynamic_cafile_content.go:160] "Starting controller" name="request-header::/etc/kubernetes/pki/front-proxy-ca.crt"
{"level":"info","ts":"2026-11-25T10:00:00Z","caller":"etcdmain/etcd.go:73","msg":"Running: ","args":["etcd"]}
time="2026-11-25T10:00:00Z" level=info msg="containerd successfully booted in 0.2s"
[    0.000000] Linux version 6.1.0-40-cloud-amd64
[    0.0] Kernel command line: loglevel=5 panic=10 systemd.show_status=error console=ttyS0
[    0.5] ACPI: Early table checksum verification disabled
`
	if known, others := Find([]Log{{"journal", log}}); len(known) > 0 || len(others) > 0 {
		t.Errorf("%+v %+v", known, others)
	}
}

func TestLinesAreCountedAndOthersKept(t *testing.T) {
	known, others := Find([]Log{
		{"kernel", "Out of memory: Killed process 1\nOut of memory: Killed process 2\n"},
		{"kubelet", "x no space left on device\nE1125 10:00:00.1 300 x.go:1] \"odd\"\nreason OOMKilled here\n"},
		{"dory", `{"level":"ERROR","msg":"step failed"}` + "\n"},
	})
	if len(known) != 2 || known[0].Name != "out-of-memory" || known[0].Times != 3 || known[0].Source != "kubelet" || known[1].Name != "disk-full" {
		t.Errorf("%+v", known)
	}
	if len(others) != 2 || others[0].Source != "kubelet" || len(others[0].Lines) != 1 || others[1].Source != "dory" {
		t.Errorf("%+v", others)
	}
}
