//go:build vm

package test

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// guestTroubles are what goes wrong inside of the machine, and with QEMU while it runs.
func guestTroubles() []trial {
	all := append(componentsAway(), clockJumps()...)
	return append(append(all, frozenMachines()...), guestEnds()...)
}

// componentsAway stop one component each, or let it hang. A start repairs it.
func componentsAway() (all []trial) {
	ready := running
	add := func(name string, says []string, command string) {
		all = append(all, trial{kind: "a component is away", name: name, ready: ready, says: says, strike: func(c *victim) { c.in(c.name, command) },
			after: func(c *victim) { c.tells([]string{"kubelet: Running", "apiserver: Running"}) }})
	}
	for _, unit := range []string{"etcd", "containerd", "kube-proxy", "kube-scheduler", "kube-controller-manager"} {
		add(unit, nil, "systemctl stop "+unit)
	}
	add("kube-apiserver", []string{"host: Running", "apiserver: Stopped"}, "systemctl stop kube-apiserver")
	add("kube-apiserver, for good", []string{"apiserver: Stopped"}, "systemctl mask --runtime --now kube-apiserver; systemctl unmask --runtime kube-apiserver")
	add("kube-apiserver hangs", []string{"host: Running", "apiserver: Unknown"}, "systemctl kill -s STOP kube-apiserver")
	// Half a minute after a fork its kubelet is started again anyhow.
	ready = func(c *victim) {
		running(c)
		c.in(c.name, "while systemctl is-active -q dory-renewal; do sleep 1; done")
	}
	add("kubelet", []string{"apiserver: Running", "kubelet: Stopped"}, "systemctl stop kubelet")
	add("kubelet hangs", []string{"apiserver: Running", "kubelet: Stopped"}, "systemctl kill -s STOP kubelet")
	return all
}

// clockJumps set the guest's clock, which is what the host's own jump comes to: the two differ. The service that would set it
// by itself, from an RTC that goes by the host's clock, is away, as it were between two of its looks.
func clockJumps() (all []trial) {
	for _, by := range []struct{ seconds, says string }{
		{"-60", "behind"}, {"+60", "ahead"}, {"-3600", "behind"}, {"+3600", "ahead"}, {"-31536000", "behind"}, {"+31536000", "ahead"}} {
		all = append(all, trial{kind: "the clock jumps", name: by.seconds + " s", ready: running, says: []string{"clock is", by.says},
			strike: func(c *victim) {
				c.in(c.name, "systemctl stop clock; date -s @$(($(date +%s) "+by.seconds+"))")
			},
			after: func(c *victim) {
				if err := clockError(c.dory, c.name); err != nil {
					c.t.Error(err)
				}
			}})
	}
	return all
}

// Kinds of machines that do not answer.
const (
	qemuHangs  = "QEMU hangs"
	guestHangs = "the guest hangs"
)

// frozenMachines hang: QEMU as a whole, or what runs in the guest.
func frozenMachines() (all []trial) {
	hung := []string{"host: Unknown", "kill -CONT"}
	all = append(all,
		trial{kind: qemuHangs, name: "for a while", ready: running, strike: func(c *victim) {
			c.signal(syscall.SIGSTOP)
			c.tells(hung)
			c.signal(syscall.SIGCONT)
		}},
		trial{kind: qemuHangs, name: "for good", ready: running, says: hung, refused: []int{50},
			strike: func(c *victim) { c.signal(syscall.SIGSTOP) }, mend: func(c *victim) { c.signal(syscall.SIGCONT) }})
	for _, verb := range []string{"stop", "stop --power-off", "pause", "unpause", "update-context", "ip", "delete"} {
		all = append(all, trial{kind: qemuHangs, name: "for good; then " + verb, ready: running, strike: func(c *victim) {
			c.signal(syscall.SIGSTOP)
			c.within(30*time.Second, verb, verb == "delete" || strings.HasPrefix(verb, "stop"))
			c.signal(syscall.SIGCONT)
		}})
	}
	// What runs in the guest is frozen, its SSH server too; its kernel goes on.
	freeze := func(c *victim) {
		c.in(c.name, "systemd-run --quiet --slice=apart.slice sh -c 'sleep 1; echo 1 >/sys/fs/cgroup/system.slice/cgroup.freeze'")
		time.Sleep(2 * time.Second)
	}
	frozen := []string{"host: Running", "apiserver: Unknown", "kubelet: Unknown"}
	all = append(all, trial{kind: guestHangs, name: "start", ready: running, says: frozen, refused: []int{82, 102}, wait: "30s", strike: freeze,
		mend: func(*victim) {}})
	for _, verb := range []string{"stop", "pause", "delete"} {
		all = append(all, trial{kind: guestHangs, name: verb, ready: running, strike: func(c *victim) {
			freeze(c)
			c.tells(frozen)
			c.within(90*time.Second, verb, verb != "stop") // a login is waited for a minute
			c.run(commandLimit, "-p", c.name, "delete")
		}})
	}
	return append(all, trial{kind: guestHangs, name: "its processors are taken by others", ready: running, refused: []int{82, 102}, wait: "30s",
		strike: func(c *victim) {
			c.in(c.name, "sysctl -q -w kernel.sched_rt_runtime_us=-1; for i in 1 2; do systemd-run --quiet sh -c 'sleep 1; exec chrt -f 99 sh -c \"while :; do :; done\"'; done")
			time.Sleep(2 * time.Second)
		}, says: []string{"host: Running", "apiserver: Unknown"}, mend: func(*victim) {}})
}

// guestEnds are guests that end, or begin anew, or are halted, without dory.
func guestEnds() []trial {
	later := func(command string) func(c *victim) {
		return func(c *victim) { c.in(c.name, "systemd-run --quiet sh -c 'sleep 1; "+command+"'") }
	}
	// Until it has come about, everything is well, and a start has nothing to do.
	seen := func(command string) func(c *victim) {
		return func(c *victim) {
			console := func() int64 {
				info, err := os.Stat(c.path("machine/console.log"))
				if err != nil {
					c.t.Fatal(err)
				}
				return info.Size()
			}
			before := console()
			later(command)(c)
			c.eventually("the guest's kernel speaks of it", 2*time.Minute, func() error {
				if console() == before {
					return errorString("the console is silent")
				}
				return nil
			})
		}
	}
	const kind = "the guest ends by itself"
	return []trial{
		{kind: kind, name: "it panics", ready: running, strike: seen("echo c >/proc/sysrq-trigger")},
		{kind: kind, name: "it is reset", ready: running, strike: seen("echo b >/proc/sysrq-trigger")},
		{kind: kind, name: "it restarts", ready: running, strike: seen("systemctl reboot")},
		{kind: kind, name: "it powers off", ready: running, strike: later("systemctl poweroff"), says: []string{"host: Stopped", "powered itself off"}},
		{kind: kind, name: "nobody can log in any more", ready: running, strike: func(c *victim) {
			later("systemctl stop ssh")(c)
			time.Sleep(3 * time.Second)
			c.within(90*time.Second, "stop", false)
			c.within(4*time.Minute, "stop --power-off", true)
		}},
		{kind: kind, name: "QEMU is told to halt it", ready: running, strike: func(c *victim) { c.tellQEMU("stop") }, says: []string{"host: Paused"}},
		{kind: kind, name: "QEMU is told to end", ready: running, strike: func(c *victim) { c.tellQEMU("quit") }, says: []string{"host: Stopped"}},
	}
}

// signal sends a signal to the cluster's QEMU.
func (c *victim) signal(signal syscall.Signal) {
	for _, pid := range c.pids() {
		syscall.Kill(pid, signal)
	}
}

// within runs a verb, which ends in time: well, or, unless it must, with what to do.
func (c *victim) within(limit time.Duration, verb string, must bool) {
	c.t.Helper()
	r := c.run(startLimit, append([]string{"-p", c.name}, strings.Fields(verb)...)...)
	c.t.Logf("%s: exit %d after %v\n%s", verb, r.code, r.took, r.stderr)
	if r.took > limit || r.code != 0 && (must || !strings.Contains(r.stderr, "what to do:")) {
		c.t.Errorf("%s: exit %d after %v\n%s", verb, r.code, r.took, r.stderr)
	}
}

// tellQEMU gives QEMU a command behind dory's back.
func (c *victim) tellQEMU(command string) {
	c.t.Helper()
	pids := c.pids()
	if len(pids) != 1 {
		c.t.Fatalf("machines: %v", pids)
	}
	// By a path that is short enough for a socket's address.
	conn, err := net.Dial("unix", filepath.Join(fmt.Sprintf("/proc/%d/cwd", pids[0]), "qmp.sock"))
	if err != nil {
		c.t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(time.Minute))
	answers := json.NewDecoder(conn)
	for _, execute := range []string{"qmp_capabilities", command} {
		if err := json.NewEncoder(conn).Encode(map[string]string{"execute": execute}); err != nil {
			c.t.Fatal(err)
		}
	}
	for returned := 0; returned < 2; {
		var answer map[string]any
		if err := answers.Decode(&answer); err != nil {
			c.t.Fatal(err)
		}
		if _, ok := answer["return"]; ok {
			returned++
		}
	}
}
