package qemu

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dorykube/dory/drivers"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func exampleMachine() drivers.Machine {
	return drivers.Machine{
		Name: "dory", UUID: "0c4d2b0e-8c1c-4c54-9d1c-27a0a6c2a4d1", Dir: "/state/dory/machine",
		CPUs: 2, Memory: 4 << 30, Disk: 20 << 30,
		Image: "/cache/node, amd64.iso", Bundle: "/cache/bundle.img",
		AuthorizedKey: "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5 dory",
		Forwards: []drivers.Forward{
			{Name: "ssh", Guest: 22},
			{Name: "apiserver", Guest: 6443, Host: 8443},
		},
	}
}

func TestArguments(t *testing.T) {
	base := setup{Machine: exampleMachine(), MachineType: "pc-q35-7.2", Sandbox: true, Boot: Boot{"/cache/boot-0/vmlinuz", "/cache/boot-0/initrd", "root=dory "}}
	cases := map[string]func(*setup) int{
		"plain":     func(s *setup) int { s.choice = choice{Accel: tcg, Model: plainModel}; return socketFD },
		"kvm":       func(s *setup) int { s.Accel = kvm; return socketFD },
		"tcg":       func(s *setup) int { s.Accel = tcg; return socketFD },
		"hvf":       func(s *setup) int { s.Accel, s.Sandbox = hvf, false; return socketFD },
		"whpx":      func(s *setup) int { s.Accel, s.Sandbox = whpx, false; return noFD },
		"ephemeral": func(s *setup) int { s.Accel, s.Machine.Ephemeral, s.Machine.Bundle = kvm, true, ""; return socketFD },
	}
	for _, accel := range []string{kvm, tcg, hvf} {
		cases["fork-"+accel] = func(s *setup) int {
			s.Accel, s.Sandbox, s.Overlay, s.Load = accel, accel != hvf, true, &snapshot{}
			s.Memory = "/templates/a, b/memory"
			return socketFD
		}
	}
	cases["forked-tcg"] = func(s *setup) int { s.Accel, s.Overlay = tcg, true; return socketFD } // booted from its disk
	cases["resume-tcg"] = func(s *setup) int { s.Accel, s.Memory, s.Load = tcg, savedMemory, &snapshot{}; return socketFD }
	for name, change := range cases {
		t.Run(name, func(t *testing.T) {
			s := base
			control := change(&s)
			if s.Model == "" {
				s.Model = models(s.Accel)[0]
			}
			if s.Model == "" {
				s.Model = models(s.Accel)[0]
			}
			golden(t, name+".args", strings.Join(pairs(arguments(s, control)), "\n")+"\n")
		})
	}
}

// A guest that goes on must find the devices that it knew, in their order.
func TestForksHaveTheSameDevices(t *testing.T) {
	devices := func(change func(*setup)) string {
		s := setup{Machine: exampleMachine(), MachineType: "pc-q35-7.2", choice: choice{Accel: tcg}}
		change(&s)
		var lines []string
		for _, line := range pairs(arguments(s, socketFD)) {
			for _, seen := range []string{"-device", "-machine", "-cpu", "-smp", "-m ", "-serial", "-accel", "-kernel", "-initrd", "-append"} {
				if strings.HasPrefix(line, seen) {
					line, _, _ = strings.Cut(line, ",tb-size=") // no guest sees that
					lines = append(lines, line)
				}
			}
		}
		return strings.Join(lines, "\n")
	}
	booted := devices(func(*setup) {})
	for name, change := range map[string]func(*setup){
		"fork":    func(s *setup) { s.Overlay, s.Memory, s.Load = true, "/memory", &snapshot{} },
		"forked":  func(s *setup) { s.Overlay = true },
		"resumed": func(s *setup) { s.Memory, s.Load = savedMemory, &snapshot{} },
	} {
		if got := devices(change); got != booted {
			t.Errorf("%s:\n%s\nwant\n%s", name, got, booted)
		}
	}
}

func TestCanaryArguments(t *testing.T) {
	b := &binary{MachineTypes: []string{"pc-q35-7.2"}}
	for _, c := range []choice{{Accel: kvm, Model: "host"}, {Accel: tcg, Model: emulatedModel}, {Accel: tcg, Model: plainModel}} {
		s := canarySetup(b, Boot{"/tmp/c/kernel", "/tmp/c/initrd", "root=dory loglevel=5 "}, c)
		name, _, _ := strings.Cut(c.Model, ",")
		golden(t, "canary-"+c.Accel+"-"+name+".args", strings.Join(pairs(canaryArguments(s)), "\n")+"\n")
		// It finds what hangs a machine only if it has what a machine has.
		machine := setup{Machine: exampleMachine(), MachineType: "pc-q35-7.2", choice: c}
		machine.Machine.CPUs, machine.Machine.Memory = s.Machine.CPUs, s.Machine.Memory
		if all := strings.Join(arguments(machine, socketFD), " "); !strings.Contains(all, strings.Join(board(s), " ")) {
			t.Errorf("the canary's board is not a machine's: %q", board(s))
		}
	}
}

// pairs puts an option and its value onto one line.
func pairs(args []string) (lines []string) {
	for _, arg := range args {
		if strings.HasPrefix(arg, "-") || len(lines) == 0 {
			lines = append(lines, arg)
		} else {
			lines[len(lines)-1] += " " + arg
		}
	}
	return lines
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs; if that is meant, run 'go test ./drivers/qemu -update' and read the change", path)
		wanted := strings.Split(string(want), "\n")
		for i, line := range strings.Split(got, "\n") {
			if i >= len(wanted) || line != wanted[i] {
				t.Logf("line %d: %s", i+1, line)
			}
		}
	}
}

// What a fork may differ in must not show in the fingerprint, and everything else must.
func TestFingerprint(t *testing.T) {
	b := &binary{Path: "/usr/bin/qemu", Version: "7.2", MachineTypes: []string{"pc-q35-7.2"}}
	of := func(change func(*drivers.Machine)) string {
		m := exampleMachine()
		change(&m)
		return fingerprint(b, "pc-q35-7.2", choice{Accel: tcg, Model: emulatedModel}, "some CPU", m)
	}
	same := of(func(*drivers.Machine) {})
	for name, change := range map[string]func(*drivers.Machine){
		"name":     func(m *drivers.Machine) { m.Name = "other" },
		"uuid":     func(m *drivers.Machine) { m.UUID = "x" },
		"dir":      func(m *drivers.Machine) { m.Dir = "/elsewhere" },
		"key":      func(m *drivers.Machine) { m.AuthorizedKey = "another" },
		"forwards": func(m *drivers.Machine) { m.Forwards = nil },
		"paths":    func(m *drivers.Machine) { m.Image, m.Bundle = "/a", "/b" },
	} {
		if of(change) != same {
			t.Errorf("the fingerprint depends on the machine's %s", name)
		}
	}
	for name, change := range map[string]func(*drivers.Machine){
		"cpus":      func(m *drivers.Machine) { m.CPUs++ },
		"memory":    func(m *drivers.Machine) { m.Memory *= 2 },
		"disk":      func(m *drivers.Machine) { m.Disk *= 2 },
		"bundle":    func(m *drivers.Machine) { m.Bundle = "" },
		"ephemeral": func(m *drivers.Machine) { m.Ephemeral = true },
	} {
		if of(change) == same {
			t.Errorf("the fingerprint does not depend on the machine's %s", name)
		}
	}
	for name, other := range map[string]string{
		"accelerator": fingerprint(b, "pc-q35-7.2", choice{Accel: kvm, Model: emulatedModel}, "some CPU", exampleMachine()),
		"model":       fingerprint(b, "pc-q35-7.2", choice{Accel: tcg, Model: plainModel}, "some CPU", exampleMachine()),
		"processor":   fingerprint(b, "pc-q35-7.2", choice{Accel: tcg, Model: emulatedModel}, "another CPU", exampleMachine()),
	} {
		if other == same {
			t.Errorf("the fingerprint does not depend on the %s", name)
		}
	}
}

// What is kept of translated code grows with the machine, and no saved machine is lost by that.
func TestTranslations(t *testing.T) {
	for _, c := range []struct {
		memory int64
		goesOn bool
		want   string
	}{
		{2 << 30, false, "512"}, {2 << 30, true, "256"}, {4<<30 - 1<<20, true, "256"}, {4 << 30, true, "512"}, {4 << 30, false, "512"},
		{8 << 30, false, "1024"}, {8 << 30, true, "1024"},
	} {
		if got := translations(c.memory, c.goesOn); got != ",tb-size="+c.want {
			t.Errorf("%d MiB, goes on %v: %s, want %s", c.memory>>20, c.goesOn, got, c.want)
		}
	}
	m := exampleMachine()
	m.Memory = 8 << 30
	if text := fingerprint(&binary{}, "pc-q35-7.2", choice{Accel: tcg}, "some CPU", m); !strings.Contains(text, "tcg,thread=multi,tb-size=512\n") {
		t.Error("the fingerprint of a machine of 8 GiB is not what older dorys made")
	}
}

// A machine that the release before this one saved goes on: its key is what that release made of the same machine. The golden file
// was written by that release.
func TestKeyOfAnOlderDory(t *testing.T) {
	b := &binary{Path: "/usr/bin/qemu", Version: "7.2", MachineTypes: []string{"pc-q35-7.2"}, Sandbox: true}
	golden(t, "fingerprint-older.txt", fingerprint(b, "pc-q35-7.2", choice{Accel: tcg}, "some CPU", exampleMachine()))
}
