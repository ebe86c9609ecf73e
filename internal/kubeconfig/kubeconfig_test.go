package kubeconfig

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dorykube/dory/internal/fail"
	"k8s.io/client-go/tools/clientcmd"
)

const foreign = `apiVersion: v1
kind: Config
current-context: work
contexts:
- context:
    cluster: work
    user: me
    extensions:
    - name: example.test/what
      extension: {deep: [1, {er: true}]}
  name: work
clusters:
- cluster:
    server: https://127.0.0.1:1
    certificate-authority: relative/ca.crt
  name: work
users:
- name: me
  user:
    exec: {apiVersion: client.authentication.k8s.io/v1, command: login, interactiveMode: Never}
extensions:
- name: top
  extension: {kept: yes}
`

func use(t *testing.T, contents ...string) []string {
	t.Helper()
	var paths []string
	for i, content := range contents {
		path := filepath.Join(t.TempDir(), "config"+string(rune('0'+i)))
		if content != "" {
			if err := os.WriteFile(path, []byte(content), 0o640); err != nil {
				t.Fatal(err)
			}
		}
		paths = append(paths, path)
	}
	t.Setenv("KUBECONFIG", strings.Join(paths, string(os.PathListSeparator)))
	return paths
}

func entry() Entry {
	return Entry{Name: "dory", Server: "https://127.0.0.1:6443", Owner: "/home", CA: []byte("ca"), Cert: []byte("cert"), Key: []byte("key")}
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// normal is the text as clientcmd writes it.
func normal(t *testing.T, text string) string {
	t.Helper()
	config, err := clientcmd.Load([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	out, err := clientcmd.Write(*config)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

func TestMergeAndRemoveLeaveForeignEntriesAlone(t *testing.T) {
	path := use(t, foreign)[0]
	file, err := Merge(entry(), true)
	if err != nil || file != path {
		t.Fatal(file, err)
	}
	merged := read(t, path)
	for _, kept := range []string{"deep:", "er: true", "https://127.0.0.1:1", "relative/ca.crt", "command: login", "kept:", "current-context: dory"} {
		if !strings.Contains(merged, kept) {
			t.Errorf("no %q in\n%s", kept, merged)
		}
	}
	if info, _ := os.Stat(path); info.Mode().Perm() != 0o640 {
		t.Errorf("mode %v", info.Mode())
	}
	if err := Check("dory", "https://127.0.0.1:6443"); err != nil {
		t.Error(err)
	}
	if err := Check("dory", "https://127.0.0.1:6444"); err == nil {
		t.Error("another server goes unnoticed")
	}
	if err := Remove("dory", "/home", []string{path}); err != nil {
		t.Fatal(err)
	}
	want := strings.Replace(normal(t, foreign), "current-context: work", `current-context: ""`, 1)
	if got := read(t, path); got != want {
		t.Errorf("after all that:\n%s\ninstead of\n%s", got, want)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), "*")); len(left) != 1 {
		t.Errorf("left behind: %v", left)
	}
}

func TestKeepContextAndNamespace(t *testing.T) {
	path := use(t, foreign)[0]
	if _, err := Merge(entry(), false); err != nil || !strings.Contains(read(t, path), "current-context: work") {
		t.Error("the context was changed", err)
	}
	text := strings.Replace(read(t, path), "    user: dory\n", "    user: dory\n    namespace: mine\n", 1)
	os.WriteFile(path, []byte(text), 0o600)
	if _, err := Merge(entry(), false); err != nil || !strings.Contains(read(t, path), "namespace: mine") {
		t.Error("the namespace was lost", err)
	}
}

func TestGarbledFileIsNamedAndLeftAlone(t *testing.T) {
	for _, text := range []string{"{{{", "clusters: 7\n", "\x00\x01"} {
		path := use(t, text)[0]
		_, err := Merge(entry(), true)
		if !fail.Is(err, fail.KubeconfigBad) || !strings.Contains(err.Error(), path) {
			t.Errorf("%q: %v", text, err)
		}
		if Remove("dory", "/home", []string{path}) == nil {
			t.Errorf("%q: removed", text)
		}
		if read(t, path) != text {
			t.Errorf("%q was changed", text)
		}
	}
}

func TestListOfFiles(t *testing.T) {
	paths := use(t, "", foreign, "")
	if _, err := Merge(entry(), true); err != nil {
		t.Fatal(err)
	}
	if text := read(t, paths[1]); !strings.Contains(text, "name: dory") || !strings.Contains(text, "current-context: dory") {
		t.Errorf("not in the first file that exists:\n%s", text)
	}
	if _, err := os.Stat(paths[0]); err == nil {
		t.Error("a file was made that was not there")
	}
	if err := Remove("dory", "/home", paths); err != nil || strings.Contains(read(t, paths[1]), "dory") {
		t.Error("not removed", err)
	}
}

func TestLinkStays(t *testing.T) {
	real := filepath.Join(t.TempDir(), "real")
	os.WriteFile(real, []byte(foreign), 0o600)
	path := use(t, "")[0]
	if err := os.Symlink(real, path); err != nil {
		t.Fatal(err)
	}
	if _, err := Merge(entry(), true); err != nil {
		t.Fatal(err)
	}
	if info, _ := os.Lstat(path); info.Mode()&os.ModeSymlink == 0 {
		t.Error("the link is gone")
	}
	if !strings.Contains(read(t, real), "name: dory") {
		t.Error("what it links to was not changed")
	}
}

func TestOnlyOnesOwnIsRemoved(t *testing.T) {
	paths := use(t, strings.ReplaceAll(foreign, "work", "dory"))
	if whose, err := Whose("dory", "/home"); whose != Foreign || err != nil {
		t.Error(whose, err)
	}
	before := read(t, paths[0])
	if err := Remove("dory", "/home", paths); err != nil || read(t, paths[0]) != before {
		t.Error("a foreign entry was removed", err)
	}
	paths = use(t, "")
	if _, err := Merge(entry(), true); err != nil {
		t.Fatal(err)
	}
	if whose, _ := Whose("dory", "/other"); whose != Another {
		t.Error(whose)
	}
	if whose, _ := Whose("dory", "/home"); whose != Ours {
		t.Error(whose)
	}
	if err := Remove("dory", "/other", paths); err != nil || !strings.Contains(read(t, paths[0]), "name: dory") {
		t.Error("another home's entry was removed", err)
	}
	if err := Remove("dory", "/home", append(paths, filepath.Join(t.TempDir(), "gone"))); err != nil {
		t.Error(err)
	}
	if info, _ := os.Stat(paths[0]); info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", info.Mode())
	}
}

func TestLockThatWasLeftBehind(t *testing.T) {
	path := use(t, foreign)[0]
	os.WriteFile(path+".lock", nil, 0o600)
	old := time.Now().Add(-time.Hour)
	os.Chtimes(path+".lock", old, old)
	if _, err := Merge(entry(), true); err != nil {
		t.Error(err)
	}
}

func TestFilesInsteadOfData(t *testing.T) {
	path := use(t, "")[0]
	e := entry()
	e.CA, e.Cert, e.Key = nil, nil, nil
	e.CAFile, e.CertFile, e.KeyFile = "/x/ca.crt", "/x/client.crt", "/x/client.key"
	if _, err := Merge(e, true); err != nil || !strings.Contains(read(t, path), "client-key: /x/client.key") {
		t.Error(read(t, path), err)
	}
}

// Files that need not change are neither locked nor written: kubectl leaves them alone, too.
func TestOnlyWhatChangesIsLocked(t *testing.T) {
	paths := use(t, "", foreign)
	if err := os.WriteFile(paths[0], []byte("apiVersion: v1\nkind: Config\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(paths[1]+".lock", nil, 0o600); err != nil { // somebody else's, for as long as this test runs
		t.Fatal(err)
	}
	if _, err := Merge(entry(), true); err != nil {
		t.Fatal(err)
	}
	if text := read(t, paths[0]); !strings.Contains(text, "current-context: dory") || !strings.Contains(text, "name: dory") {
		t.Errorf("not in one's own file:\n%s", text)
	}
	if file, err := Use("dory", true); err != nil || file != paths[0] {
		t.Error(file, err)
	}
	if err := Remove("dory", "/home", paths); err != nil || strings.Contains(read(t, paths[0]), "dory") {
		t.Error("not removed", err)
	}
	if read(t, paths[1]) != foreign {
		t.Error("another's file was written")
	}
}

// What is no file is refused by name, and left as it is. Nothing waits for a pipe's other end.
func TestWhatIsNoFile(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("it has neither")
	}
	pipe := filepath.Join(t.TempDir(), "pipe")
	if out, err := exec.Command("mkfifo", pipe).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, path := range []string{"/dev/null", pipe, t.TempDir()} {
		t.Setenv("KUBECONFIG", path)
		before, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		for doing, err := range map[string]error{"look": Mergeable(entry(), true), "merge": func() error { _, err := Merge(entry(), true); return err }()} {
			if !fail.Is(err, fail.KubeconfigBad) || !strings.Contains(err.Error(), path) {
				t.Errorf("%s: %s: %v", path, doing, err)
			}
		}
		if after, err := os.Stat(path); err != nil || !os.SameFile(before, after) {
			t.Errorf("%s was replaced: %v", path, err)
		}
	}
	t.Setenv("KUBECONFIG", "/dev/null") // no kubeconfig at all, for many
	if err := Remove("dory", "/home", []string{"/dev/null"}); err != nil {
		t.Error(err)
	}
}

func TestLinkToNothingMakesItsTarget(t *testing.T) {
	path, target := use(t, "")[0], filepath.Join(t.TempDir(), "not", "there")
	if err := os.Symlink(target, path); err != nil {
		t.Fatal(err)
	}
	if _, err := Merge(entry(), true); err != nil {
		t.Fatal(err)
	}
	if info, _ := os.Lstat(path); info.Mode()&os.ModeSymlink == 0 || !strings.Contains(read(t, target), "name: dory") {
		t.Error("the link was replaced")
	}
}

// Of many that meet an old lock, one at a time has the file: none removes the lock that another has made since.
func TestOneTakesAnOldLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config.lock")
	var inside atomic.Int32
	var group sync.WaitGroup
	for range 8 {
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		old := time.Now().Add(-time.Hour)
		os.Chtimes(path, old, old)
		for range 8 {
			group.Go(func() {
				release, err := lock(path)
				if err != nil {
					t.Error(err)
					return
				}
				if inside.Add(1) != 1 {
					t.Error("two have the lock")
				}
				time.Sleep(time.Millisecond)
				inside.Add(-1)
				release()
			})
		}
		group.Wait()
	}
	// However old it is, a lock that is held is nobody else's.
	release, err := lock(path)
	if err != nil {
		t.Fatal(err)
	}
	old := time.Now().Add(-time.Hour)
	os.Chtimes(path, old, old)
	if runtime.GOOS != "windows" && removeAbandoned(path) {
		t.Error("an old lock that is held is taken for abandoned")
	}
	release()
}

// The namespace that somebody has chosen in the cluster's own kubeconfig stays.
func TestOwnFileKeepsItsNamespace(t *testing.T) {
	path := filepath.Join(t.TempDir(), "kubeconfig")
	if err := Write(path, entry()); err != nil || !IsAlone(path, entry()) {
		t.Fatal(err)
	}
	text := strings.Replace(read(t, path), "    user: dory\n", "    namespace: mine\n    user: dory\n", 1)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if !IsAlone(path, entry()) {
		t.Error("a namespace makes it another file")
	}
	renewed := entry()
	renewed.Cert = []byte("another")
	if IsAlone(path, renewed) {
		t.Error("another certificate goes unnoticed")
	}
	if err := Write(path, renewed); err != nil || !strings.Contains(read(t, path), "namespace: mine") || !IsAlone(path, renewed) {
		t.Errorf("the namespace is lost: %v\n%s", err, read(t, path))
	}
}

func TestEmbedded(t *testing.T) {
	use(t, "")
	if !Embedded("dory") {
		t.Error("nothing is there")
	}
	e := entry()
	e.CertFile, e.Cert = "/x/client.crt", nil
	if _, err := Merge(e, true); err != nil || Embedded("dory") {
		t.Error("a file's name is taken for a certificate", err)
	}
}

// TestLockOfAKilledDory finds the lock of a process that lives, and that of one that does not any more.
func TestLockOfAKilledDory(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("there, age tells")
	}
	path := filepath.Join(t.TempDir(), "config.lock")
	release, err := lock(path)
	if err != nil {
		t.Fatal(err)
	}
	if removeAbandoned(path) {
		t.Error("a lock that is held is taken for abandoned")
	}
	release()
	if _, err := os.Stat(path); err == nil {
		t.Error("a released lock is still there")
	}
	os.WriteFile(path, []byte(signature), 0o600)
	began := time.Now()
	release, err = lock(path)
	if err != nil || time.Since(began) > lockWait/2 {
		t.Fatalf("%v after %v", err, time.Since(began))
	}
	release()
	os.WriteFile(path, nil, 0o600) // kubectl's
	if removeAbandoned(path) {
		t.Error("another program's lock is taken for abandoned")
	}
}
