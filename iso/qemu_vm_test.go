//go:build vm

package iso

import (
	"bufio"
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

// bootLimit is for a loaded machine under emulation; an idle one takes a tenth of it.
const bootLimit = 3 * time.Minute

// vm is a QEMU process with the node image in it.
type vm struct {
	t       *testing.T
	cmd     *exec.Cmd
	done    chan struct{} // closed when QEMU has ended
	console string        // file
	monitor string        // socket
	ssh     string        // host:port
}

// run starts QEMU with the given arguments added to what every test wants.
func run(t *testing.T, args ...string) *vm {
	t.Helper()
	dir := t.TempDir()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	listener.Close()
	v := &vm{t: t, done: make(chan struct{}), console: filepath.Join(dir, "console"), monitor: filepath.Join(dir, "monitor"), ssh: address}
	v.cmd = exec.Command("qemu-system-x86_64", append([]string{
		"-machine", "q35,accel=tcg", "-cpu", "max", "-smp", "2", "-m", "1024",
		"-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
		"-serial", "file:" + v.console, "-monitor", "unix:" + v.monitor + ",server=on,wait=off",
		"-netdev", "user,id=net,hostfwd=tcp:" + address + "-:22", "-device", "virtio-net-pci,netdev=net",
		"-device", "virtio-rng-pci",
	}, args...)...)
	v.cmd.Stderr = os.Stderr
	if err := v.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { _ = v.cmd.Wait(); close(v.done) }()
	t.Cleanup(func() {
		v.kill()
		if t.Failed() {
			t.Logf("the console ends with\n%s", v.consoleTail())
		}
	})
	return v
}

// direct is a boot of the kernel and the initrd from the image, the way the qemu driver does it.
func direct(t *testing.T, img *Image, data string, cmdline ...string) *vm {
	t.Helper()
	boot, err := img.Boot(filepath.Join(t.TempDir(), "boot"))
	if err != nil {
		t.Fatal(err)
	}
	args := []string{
		"-kernel", boot.Kernel, "-initrd", boot.Initrd,
		"-append", strings.Join(append([]string{boot.Cmdline, "console=ttyS0"}, cmdline...), " "),
		"-drive", "if=none,id=image,format=raw,readonly=on,file=" + img.Path, "-device", "virtio-blk-pci,drive=image,serial=" + SerialImage,
	}
	if data != "" {
		args = append(args, "-drive", "if=none,id=data,format=raw,discard=unmap,file="+data, "-device", "virtio-blk-pci,drive=data,serial="+SerialData)
	}
	return run(t, args...)
}

func (v *vm) kill() {
	_ = v.cmd.Process.Kill()
	<-v.done
}

// ended waits for QEMU to end by itself.
func (v *vm) ended() {
	v.t.Helper()
	select {
	case <-v.done:
	case <-time.After(bootLimit):
		v.t.Fatal("QEMU did not end")
	}
}

func (v *vm) consoleTail() string {
	text, _ := os.ReadFile(v.console)
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(lines[max(0, len(lines)-40):], "\n")
}

// waitConsole waits until the console shows a text.
func (v *vm) waitConsole(want string) {
	v.t.Helper()
	for deadline := time.Now().Add(bootLimit); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if text, _ := os.ReadFile(v.console); strings.Contains(string(text), want) {
			return
		}
	}
	v.t.Fatalf("the console never said %q", want)
}

// waitSSH waits for the SSH server's banner and returns how long that took.
func (v *vm) waitSSH() time.Duration {
	v.t.Helper()
	begin := time.Now()
	for time.Since(begin) < bootLimit {
		select {
		case <-v.done:
			v.t.Fatal("QEMU ended before SSH was up")
		default:
		}
		if banner := v.banner(); strings.HasPrefix(banner, "SSH-2.0-") {
			return time.Since(begin)
		}
		time.Sleep(20 * time.Millisecond)
	}
	v.t.Fatalf("no SSH banner within %s", bootLimit)
	return 0
}

func (v *vm) banner() string {
	conn, err := net.DialTimeout("tcp", v.ssh, time.Second)
	if err != nil {
		return ""
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(2 * time.Second))
	line, _ := bufio.NewReader(conn).ReadString('\n')
	return line
}

// login opens an SSH connection as root.
func (v *vm) login(methods ...ssh.AuthMethod) (*ssh.Client, error) {
	return ssh.Dial("tcp", v.ssh, &ssh.ClientConfig{
		User: "root", Auth: methods, Timeout: time.Minute,
		HostKeyCallback: ssh.InsecureIgnoreHostKey(), HostKeyAlgorithms: []string{ssh.KeyAlgoED25519},
	})
}

// sh runs a shell command over a connection of its own and returns what it printed.
func (v *vm) sh(key ssh.Signer, command string) string {
	v.t.Helper()
	client, err := v.login(ssh.PublicKeys(key))
	if err != nil {
		v.t.Fatalf("log in: %v", err)
	}
	defer client.Close()
	session, err := client.NewSession()
	if err != nil {
		v.t.Fatal(err)
	}
	out, err := session.CombinedOutput(command)
	if err != nil {
		v.t.Fatalf("%s: %v\n%s", command, err, out)
	}
	return strings.TrimSpace(string(out))
}

// powerButton presses the ACPI power button.
func (v *vm) powerButton() {
	v.t.Helper()
	conn, err := net.Dial("unix", v.monitor)
	if err != nil {
		v.t.Fatal(err)
	}
	defer conn.Close()
	// The monitor drops a command whose connection closes before it has answered: with its prompt, for the second time.
	prompts := bufio.NewReader(conn)
	for _, command := range []string{"", "system_powerdown\n"} {
		if _, err := fmt.Fprint(conn, command); err != nil {
			v.t.Fatal(err)
		}
		if _, err := prompts.ReadString(')'); err != nil {
			v.t.Fatal(err)
		}
	}
}

// newKey returns a key and the option of the kernel's command line that admits it.
func newKey(t *testing.T) (ssh.Signer, string) {
	t.Helper()
	_, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	line := strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key.PublicKey()))) + " test"
	return key, "dory.key=" + base64.StdEncoding.EncodeToString([]byte(line))
}

// image is the node image under test: $DORY_TEST_ISO, or the one in the cache, which is built if it is not current.
func image(t *testing.T) *Image {
	t.Helper()
	path := os.Getenv("DORY_TEST_ISO")
	if path == "" {
		path = filepath.Join(cache(t), "artifacts", "node-"+runtime.GOARCH+".iso")
		build(t, path)
	}
	img, err := Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func cache(t *testing.T) string {
	t.Helper()
	if home := os.Getenv("DORY_HOME"); home != "" {
		return filepath.Join(home, "cache")
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, "dory")
}

func build(t *testing.T, path string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Minute)
	defer cancel()
	if out, err := exec.CommandContext(ctx, "./build.sh", path, runtime.GOARCH).CombinedOutput(); err != nil {
		t.Fatalf("build the node image: %v\n%s", err, out)
	}
}

// disk makes a blank disk.
func disk(t *testing.T, size int64) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "data.raw")
	put(t, path, nil)
	if err := os.Truncate(path, size); err != nil {
		t.Fatal(err)
	}
	return path
}
