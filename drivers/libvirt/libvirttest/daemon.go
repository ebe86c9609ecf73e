package libvirttest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Daemon is a libvirtd, or the daemons that do its work, with what it needs.
type Daemon struct {
	t       *testing.T
	URI     string   // by which a driver reaches it
	Socket  string   // of the one for machines
	Pool    string   // a directory for its storage pool, if it is a user's own
	Log     string   // file
	under   []string // executes a daemon
	env     []string
	running []*process

	parts []part
}

// process is a daemon's.
type process struct {
	*exec.Cmd
	ended chan struct{}
}

// The directories that libvirt is built to use. Each is put below a directory of the test's.
var systemDirs = []string{"/etc/libvirt", "/var/lib/libvirt", "/var/cache/libvirt", "/var/log/libvirt"}

// System starts a system's libvirtd. It finds no KVM: one that opens but does not work costs it 15 s for every look.
func System(t *testing.T, kind Kind) *Daemon {
	t.Helper()
	hideKVM(t)
	return SystemWithKVM(t, kind)
}

// SystemWithKVM starts a system's libvirtd that finds what KVM there is.
func SystemWithKVM(t *testing.T, kind Kind) *Daemon {
	t.Helper()
	mountDirs(t)
	addUser(t)
	write(t, "/etc/libvirt/qemu.conf", "security_driver = \"none\"\ncgroup_controllers = []\nnamespaces = []\n")
	d := &Daemon{t: t, URI: "qemu:///system", parts: kind.parts(t)}
	d.Socket = d.parts[0].socket
	logger := exec.Command("/usr/sbin/virtlogd")
	if err := logger.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { logger.Process.Kill(); logger.Wait() })
	d.Start()
	return d
}

// Session starts a libvirtd of a user's own. The user is nobody.
func Session(t *testing.T) *Daemon {
	t.Helper()
	mountDirs(t)
	home := "/var/lib/libvirt/session"
	runtime := filepath.Join(home, "run")
	for _, dir := range []string{home, runtime} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(dir, nobody, nobody); err != nil {
			t.Fatal(err)
		}
	}
	d := &Daemon{t: t, Socket: filepath.Join(runtime, "libvirt", "libvirt-sock"), Pool: filepath.Join(home, "pool"),
		env:   []string{"HOME=" + home, "XDG_RUNTIME_DIR=" + runtime, "XDG_CONFIG_HOME=" + home, "XDG_CACHE_HOME=" + home, "XDG_DATA_HOME=" + home, "USER=nobody"},
		under: []string{"setpriv", "--reuid", strconv.Itoa(nobody), "--regid", strconv.Itoa(nobody), "--clear-groups", "--inh-caps=-all"}}
	d.URI = "qemu:///session?socket=" + d.Socket
	d.parts = []part{{socket: d.Socket}}
	d.Start()
	return d
}

const nobody = 65534

func mountDirs(t *testing.T) {
	t.Helper()
	root := t.TempDir()
	for _, dir := range systemDirs {
		below := filepath.Join(root, strings.ReplaceAll(dir, "/", "_"))
		if err := os.MkdirAll(below, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command("mount", "--bind", below, dir).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		t.Cleanup(func() { exec.Command("umount", "--lazy", dir).Run() })
	}
	os.MkdirAll("/run/libvirt", 0o755)
}

// addUser makes the user that the system's QEMUs run as, as the package for a whole system would.
func addUser(t *testing.T) {
	t.Helper()
	for file, line := range map[string]string{
		"/etc/passwd": "libvirt-qemu:x:64055:64055::/var/lib/libvirt:/usr/sbin/nologin\n",
		"/etc/group":  "libvirt-qemu:x:64055:\n",
	} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), "libvirt-qemu:") {
			continue
		}
		own := filepath.Join("/run", filepath.Base(file))
		write(t, own, string(text)+line)
		if out, err := exec.Command("mount", "--bind", own, file).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		t.Cleanup(func() { exec.Command("umount", "--lazy", file).Run() })
	}
}

// hideKVM takes /dev/kvm away from the user that QEMUs run as.
func hideKVM(t *testing.T) {
	t.Helper()
	if !exists("/dev/kvm") {
		return
	}
	const other = "/run/no-kvm"
	if err := os.WriteFile(other, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("mount", "--bind", other, "/dev/kvm").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	t.Cleanup(func() { exec.Command("umount", "--lazy", "/dev/kvm").Run() })
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// Start starts the daemon, again if it has been stopped.
func (d *Daemon) Start() {
	d.t.Helper()
	if d.Log == "" {
		d.Log = filepath.Join(d.t.TempDir(), "libvirtd.log")
		d.t.Cleanup(func() {
			d.Stop(syscall.SIGTERM)
			if d.t.Failed() {
				log, _ := os.ReadFile(d.Log)
				lines := slices.DeleteFunc(strings.Split(strings.TrimSpace(string(log)), "\n"), func(line string) bool {
					return strings.Contains(line, "ethtool") || strings.Contains(line, "End of file while reading")
				})
				d.t.Logf("the end of libvirtd's log:\n%s", strings.Join(lines[max(0, len(lines)-40):], "\n"))
			}
		})
	}
	log, err := os.OpenFile(d.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		d.t.Fatal(err)
	}
	defer log.Close()
	for _, part := range d.parts {
		args := slices.Concat(d.under, []string{"/usr/sbin/libvirtd"}, part.args)
		cmd := exec.Command(args[0], args[1:]...)
		cmd.Env = slices.Concat(os.Environ(), d.env, part.env)
		cmd.Stdout, cmd.Stderr = log, log
		if err := cmd.Start(); err != nil {
			d.t.Fatal(err)
		}
		p := &process{cmd, make(chan struct{})}
		d.running = append(d.running, p)
		go func() { cmd.Wait(); close(p.ended) }()
	}
	for began := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		if out, err := d.answers(); err == nil {
			return
		} else if time.Since(began) > 30*time.Second {
			d.t.Fatalf("libvirtd does not answer: %v: %s", err, out)
		}
	}
}

// answers reports whether the daemon does, and what else it consists of listens.
func (d *Daemon) answers() (string, error) {
	for _, part := range d.parts {
		if _, err := os.Stat(part.socket); err != nil {
			return "", err
		}
	}
	return d.virsh("version")
}

// Stop ends the daemon with a signal, which its machines survive.
func (d *Daemon) Stop(signal syscall.Signal) {
	d.Signal(signal)
	for _, p := range d.running {
		select {
		case <-p.ended:
		case <-time.After(10 * time.Second):
			p.Process.Kill()
			<-p.ended
		}
	}
	d.running = nil
}

// Signal sends the daemon a signal that it survives.
func (d *Daemon) Signal(signal syscall.Signal) {
	for _, p := range d.running {
		p.Process.Signal(signal)
	}
}

// Virsh asks the daemon, not by way of dory.
func (d *Daemon) Virsh(args ...string) string {
	d.t.Helper()
	out, err := d.virsh(args...)
	if err != nil {
		d.t.Fatalf("virsh %s: %v: %s", strings.Join(args, " "), err, out)
	}
	return out
}

func (d *Daemon) virsh(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	uri := d.asks(args[0])
	out, err := exec.CommandContext(ctx, "virsh", append([]string{"--connect", uri}, args...)...).CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

// asks is whom virsh asks for a command: the part that does it.
func (d *Daemon) asks(command string) (uri string) {
	driver, socket, mode := "qemu", d.Socket, "system"
	if d.Pool != "" {
		mode = "session"
	}
	for _, part := range d.parts {
		switch {
		case part.driver == "network" && strings.HasPrefix(command, "net-"), part.driver == "storage" && strings.HasPrefix(command, "pool-"):
			driver, socket = part.driver, part.socket
		}
	}
	return fmt.Sprintf("%s+unix:///%s?socket=%s", driver, mode, socket)
}

// QEMU returns the process of the machine with the UUID, of those in the test's namespace.
func (d *Daemon) QEMU(uuid string) int { return processWith("qemu-system", uuid) }

// processWith finds a process by words in its command line.
func processWith(words ...string) int {
	entries, _ := os.ReadDir("/proc")
next:
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		args, _ := os.ReadFile(filepath.Join("/proc", entry.Name(), "cmdline"))
		for _, word := range words {
			if !strings.Contains(string(args), word) {
				continue next
			}
		}
		return pid
	}
	return 0
}

// Left is what there is of dory's on the host: processes, links, libvirt's objects and files. Empty: nothing.
func (d *Daemon) Left() string {
	d.t.Helper()
	var left []string
	for _, words := range [][]string{{"qemu-system", "dory"}, {"dnsmasq", "dory"}} {
		if pid := processWith(words...); pid != 0 {
			left = append(left, fmt.Sprintf("process %d: %v", pid, words))
		}
	}
	if links, _ := exec.Command("ip", "-br", "link").Output(); strings.Contains(string(links), "virbr") {
		left = append(left, string(links))
	}
	for _, list := range [][]string{{"list", "--all", "--name"}, {"net-list", "--all", "--name"}, {"pool-list", "--all", "--name"}} {
		if out := d.Virsh(list...); strings.Contains(out, "dory") {
			left = append(left, list[0]+": "+out)
		}
	}
	filepath.WalkDir("/var/lib/libvirt", func(path string, _ os.DirEntry, err error) error {
		if err == nil && strings.Contains(path, "dory") && !strings.Contains(path, "/log/") { // libvirt keeps its logs
			left = append(left, path)
		}
		return nil
	})
	return strings.Join(left, "\n")
}
