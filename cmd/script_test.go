package cmd

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/gofrs/flock"
	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"dory":    func() { os.Exit(Run(context.Background(), os.Args, Streams{os.Stdin, os.Stdout, os.Stderr})) },
		"kubectl": func() { os.Exit(Run(context.Background(), os.Args, Streams{os.Stdin, os.Stdout, os.Stderr})) },
	})
}

// TestScripts runs the program from outside, with homes of its own and without machines.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:           "testdata/script",
		UpdateScripts: os.Getenv("UPDATE_SCRIPTS") != "",
		Setup: func(env *testscript.Env) error {
			for name, dir := range map[string]string{"DORY_HOME": "home", "XDG_CACHE_HOME": "cache", "KUBECONFIG": "kubeconfig", "HOME": "user"} {
				env.Setenv(name, env.WorkDir+"/"+dir)
			}
			env.Setenv("DORY_KVM_QEMU_URI", "qemu:///system?socket=/nowhere") // not this computer's, which may have one
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"artifacts": artifacts,
			"code":      code,
			"hold":      hold,
			// onlydory leaves nothing in PATH but dory itself.
			"onlydory": func(ts *testscript.TestScript, _ bool, _ []string) {
				ts.Setenv("PATH", filepath.SplitList(ts.Getenv("PATH"))[0])
			},
		},
	})
}

// code runs dory and expects an exit code: code 14 start --cpus x.
func code(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: code CODE ARGUMENTS...")
	}
	err := ts.Exec("dory", args[1:]...)
	got := "0"
	if err != nil {
		got = err.Error()
		if len(got) > len("exit status ") {
			got = got[len("exit status "):]
		}
	}
	if got != args[0] {
		ts.Fatalf("dory %v: exit %s instead of %s", args[1:], got, args[0])
	}
}

// hold takes the lock of a file, as another process would: hold FILE.
func hold(ts *testscript.TestScript, _ bool, args []string) {
	lock := flock.New(ts.MkAbs(args[0]))
	if ok, err := lock.TryLock(); err != nil || !ok {
		ts.Fatalf("hold %s: %v %v", args[0], ok, err)
	}
	ts.Defer(func() { lock.Close() })
}
