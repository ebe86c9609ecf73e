//go:build vm

package iso

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

const (
	gib       = 1 << 30
	staticNet = "dory.ip=10.0.2.15/24,10.0.2.2,10.0.2.3"
)

// TestVMLife follows one machine: first boot, power button, a larger disk, a power cut, and what must outlast them.
func TestVMLife(t *testing.T) {
	img, data := image(t), disk(t, 4*gib)
	key, keyOption := newKey(t)
	start := func() *vm {
		v := direct(t, img, data, "dory.hostname=nemo", keyOption, staticNet)
		t.Logf("SSH banner after %s", v.waitSSH())
		return v
	}
	// What must be the same at every boot.
	const identity = "cat /etc/machine-id /etc/ssh/ssh_host_ed25519_key.pub; hostname; cat /var/lib/mine /root/mine"

	v := start()
	t.Run("node", func(t *testing.T) { checkNode(t, v, key) })
	t.Run("logins", func(t *testing.T) { checkLogins(t, v, key) })
	v.sh(key, "echo kept | tee /var/lib/mine >/root/mine; sync")
	first := v.sh(key, identity)
	if !strings.HasSuffix(first, "nemo\nkept\nkept") {
		t.Fatalf("identity:\n%s", first)
	}
	begin := time.Now()
	v.powerButton()
	v.ended()
	t.Logf("powered off by the button in %s", time.Since(begin))

	if err := os.Truncate(data, 8*gib); err != nil {
		t.Fatal(err)
	}
	v = start()
	if again := v.sh(key, identity); again != first {
		t.Errorf("after the power button:\n%s\nbefore:\n%s", again, first)
	}
	if blocks := v.sh(key, "stat -f -c %b /var"); len(blocks) < 7 || blocks < "1900000" {
		t.Errorf("the disk has grown to 8 GiB, its file system to %s blocks of 4 KiB", blocks)
	}
	v.sh(key, "dd if=/dev/zero of=/var/lib/unfinished bs=1M count=64 status=none")
	v.kill()

	v = start()
	if again := v.sh(key, identity); again != first {
		t.Errorf("after the power cut:\n%s\nbefore:\n%s", again, first)
	}
	_, _ = v.login() // refused, and the machine goes on
	begin = time.Now()
	v.sh(key, "systemctl poweroff")
	v.ended()
	t.Logf("powered off by systemctl in %s", time.Since(begin))
}

func checkNode(t *testing.T, v *vm, key ssh.Signer) {
	v.sh(key, "systemctl is-system-running --wait || { systemctl --failed; exit 1; }")
	for command, want := range map[string]string{
		"hostname": "nemo",
		"stat -f -c %T /var | sed s,ext2/ext3,ext4,":                                                           "ext4",
		"findmnt -n -o FSTYPE / 2>/dev/null || stat -f -c %T / | sed s/overlayfs/overlay/":                     "overlay",
		"cat /proc/sys/net/ipv4/ip_forward /proc/sys/net/bridge/bridge-nf-call-iptables":                       "1\n1",
		"cat /proc/sys/vm/overcommit_memory /proc/sys/kernel/panic /proc/sys/kernel/panic_on_oops":             "1\n10\n1",
		"cat /sys/fs/cgroup/cgroup.controllers | tr ' ' '\\n' | grep -cE '^(cpu|cpuset|memory|pids|io)$'":      "5",
		"awk -F: '$2 !~ /^[*!]/' /etc/shadow":                                                                  "",
		"find / -xdev -perm /6000 -type f":                                                                     "",
		"nft list tables; nft list ruleset | grep -c hook":                                                     "table inet dory\n5", // the hooks that are always in use
		"for m in vxlan wireguard ip_vs nft_chain_nat xt_comment fuse tun; do modprobe $m || echo no $m; done": "",
		"cat /etc/resolv.conf": "nameserver 10.0.2.3",
		"ls -d /var/log/journal/$(cat /etc/machine-id)/ >/dev/null && echo yes": "yes",
	} {
		if got := v.sh(key, command); got != want {
			t.Errorf("%s: %q, want %q", command, got, want)
		}
	}
	used := v.sh(key, `awk '{v[$1]=$2} END {print int((v["MemTotal:"]-v["MemFree:"]-v["Buffers:"]-v["Cached:"]-v["SReclaimable:"])/1024)}' /proc/meminfo`)
	t.Logf("memory used by the system, without what can be reclaimed: %s MiB", used)
	if len(used) > 2 {
		t.Errorf("the system uses %s MiB", used)
	}
}

func checkLogins(t *testing.T, v *vm, key ssh.Signer) {
	begin := time.Now()
	v.sh(key, "true")
	t.Logf("a login and a command take %s", time.Since(begin))
	if _, err := v.login(ssh.Password("")); err == nil {
		t.Error("an empty password opens the node")
	}
	other, _ := newKey(t)
	if _, err := v.login(ssh.PublicKeys(other)); err == nil {
		t.Error("any key opens the node")
	}
}

// TestVMFirmware boots through the ISO's own boot loader, with no word on the kernel's command line: DHCP, no data disk.
func TestVMFirmware(t *testing.T) {
	img := image(t)
	firmware := map[string][]string{
		"SeaBIOS": nil,
		"OVMF":    {"-bios", "/usr/share/ovmf/OVMF.fd"},
	}
	media := map[string][]string{
		"CD":   {"-drive", "if=none,id=iso,media=cdrom,format=raw,readonly=on,file=" + img.Path, "-device", "ide-cd,drive=iso,bus=ide.0"},
		"disk": {"-drive", "if=none,id=iso,format=raw,readonly=on,file=" + img.Path, "-device", "virtio-blk-pci,drive=iso,bootindex=1"},
	}
	for name, bios := range firmware {
		for medium, args := range media {
			if testing.Short() && (name == "OVMF") == (medium == "CD") { // each of both once
				continue
			}
			t.Run(name+"/"+medium, func(t *testing.T) {
				v := run(t, append(args, bios...)...)
				t.Logf("SSH banner after %s", v.waitSSH())
				v.waitConsole("no disk has the serial dory-data")
			})
		}
	}
}

// TestVMForeignDisk: what is not blank and not ours is left as it is, and the machine says so and ends.
func TestVMForeignDisk(t *testing.T) {
	data := disk(t, gib)
	before := bytes.Repeat([]byte("somebody's"), 1<<16)
	f, err := os.OpenFile(data, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt(before, 4096); err != nil {
		t.Fatal(err)
	}
	v := direct(t, image(t), data)
	v.ended()
	v.waitConsole("no file system that can be repaired")
	after := make([]byte, len(before))
	if _, err := f.ReadAt(after, 4096); err != nil || !bytes.Equal(before, after) {
		t.Errorf("the disk was written to (%v)", err)
	}
}

// TestVMInterruptedFormat cuts the power while the data disk is being formatted, at several moments.
func TestVMInterruptedFormat(t *testing.T) {
	img, data := image(t), disk(t, 4*gib)
	for _, moment := range []time.Duration{0, 150 * time.Millisecond, 300 * time.Millisecond, 600 * time.Millisecond} {
		v := direct(t, img, data, staticNet)
		v.waitConsole("formatting the data disk")
		time.Sleep(moment)
		v.kill()
	}
	v := direct(t, img, data, staticNet)
	v.waitSSH()
	v.kill()
	v = direct(t, img, data, staticNet)
	v.waitSSH()
	if text, _ := os.ReadFile(v.console); strings.Contains(string(text), "formatting") {
		t.Error("a disk that was formatted is formatted again")
	}
}

// TestReproducible builds twice, in different directories, and compares; then once more, with nothing to do.
func TestReproducible(t *testing.T) {
	if testing.Short() {
		t.Skip("two builds of the image take minutes: left to 'make test-all'")
	}
	var digests []string
	var path string
	for range 2 {
		path = filepath.Join(t.TempDir(), "node.iso")
		build(t, path)
		digest, err := os.ReadFile(path + digestSuffix)
		if err != nil {
			t.Fatal(err)
		}
		digests = append(digests, string(digest))
	}
	if digests[0] != digests[1] {
		t.Errorf("two builds differ:\n%s%s", digests[0], digests[1])
	}
	begin := time.Now()
	build(t, path)
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("a build with nothing to do takes %s", took)
	}
	if info, err := os.Stat(path); err != nil || info.Size() > 120e6 {
		t.Errorf("the image has %d bytes (%v)", info.Size(), err)
	}
}
