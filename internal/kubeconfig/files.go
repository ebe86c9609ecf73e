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
)

// loaded is a kubeconfig file.
type loaded struct {
	path   string
	config *api.Config
	before []byte // as clientcmd writes the config that was read
}

func load(paths []string) ([]loaded, error) {
	files := make([]loaded, 0, len(paths))
	for _, path := range paths {
		config, err := clientcmd.LoadFromFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			config = api.NewConfig()
		} else if err != nil {
			return nil, fail.Wrap(fail.KubeconfigBad, err, "read the kubeconfig %s", path)
		}
		before, err := clientcmd.Write(*config)
		if err != nil {
			return nil, fail.Wrap(fail.KubeconfigBad, err, "read the kubeconfig %s", path)
		}
		files = append(files, loaded{path, config, before})
	}
	return files, nil
}

// modify changes the files under their locks, and writes those that are different afterwards.
func modify(paths []string, change func([]loaded)) error {
	unlock, err := lockAll(paths)
	if err != nil {
		return err
	}
	defer unlock()
	files, err := load(paths)
	if err != nil {
		return err
	}
	change(files)
	for _, f := range files {
		atomicfile.Sweep(f.path) // under the lock nobody else writes it
		text, err := clientcmd.Write(*f.config)
		if err == nil && slices.Equal(text, f.before) {
			continue
		}
		if err == nil {
			err = write(f.path, text)
		}
		if err != nil {
			return fail.Wrap(fail.KubeconfigBad, err, "write the kubeconfig %s", f.path)
		}
	}
	return nil
}

// write keeps the mode of a file that exists.
func write(path string, text []byte) error {
	mode := fs.FileMode(0o600)
	if info, err := os.Stat(path); err == nil {
		mode = info.Mode().Perm()
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	return atomicfile.Write(path, text, mode)
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

// current returns the file whose current context counts, or else the one that new things go into.
func current(files []loaded, home *loaded) *loaded {
	for i := range files {
		if files[i].config.CurrentContext != "" {
			return &files[i]
		}
	}
	return home
}
