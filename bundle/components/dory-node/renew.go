package main

import (
	"archive/tar"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"
)

// renew makes a forked node its own. The archive's entries are done one by one, in their order: the sender begins with
// entropy and clock, since what the machine has of both is its template's.
//
//	entropy     bytes for the kernel's random pool
//	clock       nanoseconds since 1970, UTC, as text
//	hostname    the machine's name
//	machine-id  32 hexadecimal digits
//	/...        a file, put into its place whole
//
// Then it says "renewed", and "synced" when all of it is on the disk, and waits until the sender, who meanwhile has the API
// server for himself, closes the line.
func renew(line io.ReadWriter) error {
	// What stands there now is the template's key; its file is replaced below, not written to.
	if err := os.Link(accountKey, previousAccountKey); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	archive := tar.NewReader(line)
	for {
		header, err := archive.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		content, err := io.ReadAll(archive)
		if err != nil {
			return err
		}
		if err := renewOne(header, content); err != nil {
			return fmt.Errorf("%s: %w", header.Name, err)
		}
	}
	if _, err := fmt.Fprintln(line, "renewed"); err != nil {
		return err
	}
	syscall.Sync() // what a start made outlives a power cut from its end on
	_, err := fmt.Fprintln(line, "synced")
	io.Copy(io.Discard, line)
	return err
}

func renewOne(header *tar.Header, content []byte) error {
	text := strings.TrimSpace(string(content))
	switch header.Name {
	case "entropy":
		return addEntropy(content)
	case "clock":
		return setClock(text)
	case "hostname":
		return setHostname(text)
	case "machine-id":
		return setMachineID(text)
	}
	path := filepath.Join("/", header.Name)
	if err := replace(path, content, header.FileInfo().Mode().Perm()); err != nil {
		return err
	}
	if path == sshHostKey {
		return endSSHServer()
	}
	return nil
}

const (
	sshHostKey = "/etc/ssh/ssh_host_ed25519_key"
	sshServer  = "/run/sshd.pid"
)

// endSSHServer ends a server that somebody's connection has started since the fork, and that has read the template's host key.
// systemd starts another one. Usually there is none.
func endSSHServer() error {
	text, err := os.ReadFile(sshServer)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	pid, bad := strconv.Atoi(strings.TrimSpace(string(text)))
	if err = errors.Join(err, bad); err != nil {
		return err
	}
	name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	if err != nil || strings.TrimSpace(string(name)) != "sshd" {
		return nil // it has ended
	}
	return syscall.Kill(pid, syscall.SIGTERM)
}

// Requests of random(4).
const (
	rndAddEntropy = 0x40085203
	rndReseedCRNG = 0x5207
)

// addEntropy mixes bytes into the kernel's random pool, counts them as full entropy, and has the generator that everybody
// reads from seeded anew at once. Two forks of one template would otherwise be given the same random numbers.
func addEntropy(random []byte) error {
	device, err := os.OpenFile("/dev/urandom", os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer device.Close()
	var info bytes.Buffer // struct rand_pool_info
	binary.Write(&info, binary.NativeEndian, int32(len(random)*8))
	binary.Write(&info, binary.NativeEndian, int32(len(random)))
	info.Write(random)
	raw := info.Bytes()
	if _, _, code := syscall.Syscall(syscall.SYS_IOCTL, device.Fd(), rndAddEntropy, uintptr(unsafe.Pointer(&raw[0]))); code != 0 {
		return code
	}
	if _, _, code := syscall.Syscall(syscall.SYS_IOCTL, device.Fd(), rndReseedCRNG, 0); code != 0 {
		return code
	}
	return nil
}

// setClock steps the system's clock, and the RTC, which the node image has the system's follow.
func setClock(text string) error {
	nanoseconds, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return err
	}
	now := syscall.NsecToTimeval(nanoseconds)
	return errors.Join(syscall.Settimeofday(&now), setRTC(time.Unix(0, nanoseconds).UTC()))
}

// rtcSetTime is RTC_SET_TIME of rtc(4).
const rtcSetTime = 0x4024700a

func setRTC(t time.Time) error {
	device, err := os.OpenFile("/dev/rtc0", os.O_WRONLY, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer device.Close()
	// struct rtc_time: months are counted from 0, years from 1900; the last three are not looked at.
	fields := [9]int32{int32(t.Second()), int32(t.Minute()), int32(t.Hour()), int32(t.Day()), int32(t.Month()) - 1, int32(t.Year()) - 1900}
	if _, _, code := syscall.Syscall(syscall.SYS_IOCTL, device.Fd(), rtcSetTime, uintptr(unsafe.Pointer(&fields[0]))); code != 0 {
		return code
	}
	return nil
}

// ownAddress is what the machine's own name has in /etc/hosts, as on every Debian.
const ownAddress = "127.0.1.1 "

func setHostname(name string) error {
	before, err := os.ReadFile("/etc/hosts")
	if err != nil {
		return err
	}
	var hosts strings.Builder
	for line := range strings.Lines(string(before)) {
		if strings.HasPrefix(line, ownAddress) {
			line = ownAddress + name + "\n"
		}
		hosts.WriteString(line)
	}
	return errors.Join(
		syscall.Sethostname([]byte(name)),
		replace("/etc/hostname", []byte(name+"\n"), 0o644),
		replace("/etc/hosts", []byte(hosts.String()), 0o644))
}

// setMachineID moves the journals along, which are in a directory of that name.
func setMachineID(id string) error {
	before, err := os.ReadFile("/etc/machine-id")
	if err != nil {
		return err
	}
	for _, journals := range []string{"/var/log/journal/", "/run/log/journal/"} {
		err := os.Rename(journals+strings.TrimSpace(string(before)), journals+id)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return replace("/etc/machine-id", []byte(id+"\n"), 0o444)
}

// replace writes a file so that who reads it sees the old or the new one, whole.
func replace(path string, content []byte, mode os.FileMode) error {
	temporary := path + ".renew"
	if err := os.WriteFile(temporary, content, mode); err != nil {
		return err
	}
	return os.Rename(temporary, path)
}

// The template's service-account key goes on being accepted until pods have tokens of the new one.
const (
	accountKey         = "/etc/kubernetes/pki/service-account.pub"
	previousAccountKey = "/etc/kubernetes/pki/service-account-previous.pub"
)

// Who starts a cluster uses it at once, and the processors have enough to do: what may come later waits for as long as it can.
// The sum is the time until credentials from inside of the template are refused, and less than a minute.
const (
	beforeTokens  = 30 * time.Second
	beforeRefusal = 22 * time.Second
)

// finishRenewal runs as the unit dory-renewal, after a renewal and when it was cut short. It does what may come later: the
// kubelet fetches new tokens for the pods there are; then the template's key is forgotten. Journald is for the new machine-id.
func finishRenewal() error {
	time.Sleep(beforeTokens)
	if out, err := exec.Command("systemctl", "reload-or-restart", "--no-block", "kubelet").CombinedOutput(); err != nil {
		return fmt.Errorf("have the kubelet fetch new tokens: %w: %s", err, out)
	}
	if out, err := exec.Command("systemctl", "restart", "--no-block", "systemd-journald").CombinedOutput(); err != nil {
		return fmt.Errorf("restart the journal: %w: %s", err, out)
	}
	time.Sleep(beforeRefusal)
	// The API server only ever adds authorities to this ConfigMap, by which extension API servers know it; gone, it is made anew.
	out, err := exec.Command("/opt/dory/bundle/bin/kubectl", "--kubeconfig=/etc/kubernetes/admin.conf", "--namespace=kube-system",
		"delete", "configmap", "extension-apiserver-authentication", "--ignore-not-found").CombinedOutput()
	if err != nil {
		err = fmt.Errorf("remove the template's authorities: %w: %s", err, out)
	}
	return errors.Join(err, os.Remove(previousAccountKey))
}
