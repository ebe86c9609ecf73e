package kubeconfig

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/dorykube/dory/internal/atomicfile"
	"github.com/dorykube/dory/internal/fail"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
	"k8s.io/client-go/util/homedir"
)

// options is client-go's rule, by the home directory of now: client-go looks at the one of the program's start.
func options() *clientcmd.PathOptions {
	o := clientcmd.NewDefaultPathOptions()
	o.GlobalFile = filepath.Join(homedir.HomeDir(), clientcmd.RecommendedHomeDir, clientcmd.RecommendedFileName)
	return o
}

// loaded is a kubeconfig file.
type loaded struct {
	path   string
	config *api.Config
	before []byte // as clientcmd writes the config that was read
}

func (f loaded) changed() (text []byte, changed bool, err error) {
	if text, err = clientcmd.Write(*f.config); err != nil {
		return nil, false, fail.Wrap(fail.KubeconfigBad, err, "write the kubeconfig %s", f.path)
	}
	return text, !slices.Equal(text, f.before), nil
}

func load(paths []string) ([]loaded, error) {
	files := make([]loaded, 0, len(paths))
	for _, path := range paths {
		config, err := parse(path)
		if err != nil {
			return nil, err
		}
		before, err := clientcmd.Write(*config)
		if err != nil {
			return nil, fail.Wrap(fail.KubeconfigBad, err, "read the kubeconfig %s", path)
		}
		files = append(files, loaded{path, config, before})
	}
	return files, nil
}

// parse reads a file. One that is not there holds nothing, and nor does /dev/null; a pipe would keep its reader waiting.
func parse(path string) (*api.Config, error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return api.NewConfig(), nil
	case err == nil && info.Mode()&fs.ModeCharDevice != 0:
		return api.NewConfig(), nil
	case err == nil && !info.Mode().IsRegular():
		return nil, notAFile(path, info)
	}
	config, err := clientcmd.LoadFromFile(path)
	if err != nil {
		return nil, fail.Wrap(fail.KubeconfigBad, err, "read the kubeconfig %s", path)
	}
	return config, nil
}

func notAFile(path string, info fs.FileInfo) error {
	what := "no regular file"
	switch mode := info.Mode(); {
	case mode.IsDir():
		what = "a directory"
	case mode&fs.ModeNamedPipe != 0:
		what = "a pipe"
	case mode&fs.ModeDevice != 0:
		what = "a device"
	case mode&fs.ModeSocket != 0:
		what = "a socket"
	}
	return fail.New(fail.KubeconfigBad, "the kubeconfig %s is %s", path, what).
		WithAdvice("name a file that can be written in KUBECONFIG, for example 'export KUBECONFIG=$HOME/.kube/config'")
}

// modify changes the files, and writes those that are different afterwards, under their locks. Others are neither locked nor
// written: they may be somebody else's, or on a file system that is mounted read-only.
func modify(paths []string, change func([]loaded)) error {
	files, err := load(paths)
	if err != nil {
		return err
	}
	change(files)
	for {
		differ, err := differing(files)
		if err != nil || len(differ) == 0 {
			return err
		}
		if files, err = modifyLocked(paths, differ, change); err != nil || files == nil {
			return err
		}
		// Somebody has changed them meanwhile, so that others differ now.
	}
}

// modifyLocked reads the files again, under the locks of those that are to be written. If the change concerns a file without
// a lock by now, it writes nothing and returns what it made of the files.
func modifyLocked(paths, locked []string, change func([]loaded)) ([]loaded, error) {
	for _, path := range locked {
		if err := writable(path); err != nil {
			return nil, err
		}
	}
	unlock, err := lockAll(locked)
	if err != nil {
		return nil, err
	}
	defer unlock()
	files, err := load(paths)
	if err != nil {
		return nil, err
	}
	change(files)
	differ, err := differing(files)
	if err != nil {
		return nil, err
	}
	for _, path := range differ {
		if !slices.Contains(locked, path) {
			return files, nil
		}
	}
	for _, f := range files {
		if !slices.Contains(locked, f.path) {
			continue
		}
		atomicfile.Sweep(f.path) // under the lock nobody else writes it
		text, changed, err := f.changed()
		if err == nil && changed {
			err = atomicfile.WriteOver(f.path, text, 0o600)
		}
		if err != nil {
			return nil, fail.Wrap(fail.KubeconfigBad, err, "write the kubeconfig %s", f.path)
		}
	}
	return nil, nil
}

func differing(files []loaded) (paths []string, err error) {
	for _, f := range files {
		_, changed, err := f.changed()
		if err != nil {
			return nil, err
		}
		if changed {
			paths = append(paths, f.path)
		}
	}
	return paths, nil
}

// writable returns nil if the file may be written, or made, and locked.
func writable(path string) error {
	info, err := os.Stat(path)
	if err == nil && !info.Mode().IsRegular() {
		return notAFile(path, info)
	}
	if err == nil {
		err = mayWrite(path)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fail.Wrap(fail.KubeconfigBad, err, "write the kubeconfig %s", path).
			WithAdvice("allow yourself to write it (chmod u+w '%s'), or name another file in KUBECONFIG", path)
	}
	if err := mayMakeIn(filepath.Dir(path)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fail.Wrap(fail.KubeconfigBad, err, "lock the kubeconfig %s, by a file beside it", path).
			WithAdvice("allow yourself to write in '%s', or name a file elsewhere in KUBECONFIG", filepath.Dir(path))
	}
	return nil
}

// find returns the file of that path; load has read it.
func find(files []loaded, path string) *loaded {
	for i := range files {
		if files[i].path == path {
			return &files[i]
		}
	}
	return &files[0]
}
