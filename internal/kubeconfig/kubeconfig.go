// Package kubeconfig puts a cluster's entries into the user's kubeconfig and takes them out again: a context, a cluster
// and a user of the cluster's name.
//
// Which file is read and written is client-go's rule ($KUBECONFIG, a list, or ~/.kube/config), and so is the lock, which
// kubectl heeds too. Entries of others, also the parts of them that nobody here knows, stay. Entries made here carry a
// mark, so that only those are ever removed: another tool's context of the same name is somebody else's.
package kubeconfig

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	"github.com/dorykube/dory/internal/atomicfile"
	"github.com/dorykube/dory/internal/fail"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
)

// Entry is what a cluster has in a kubeconfig.
type Entry struct {
	Name   string // of context, cluster and user
	Server string // https://host:port
	// Owner tells dory's homes apart: two may have clusters of one name.
	Owner string
	// CA, Cert and Key are PEM, embedded; or else the files that hold them are named.
	CA, Cert, Key             []byte
	CAFile, CertFile, KeyFile string
}

// markName is the name of the extension that marks entries made here.
const markName = "dory.dev"

// mark is the extension's content.
type mark struct {
	Owner string `json:"owner"`
}

// Owner says whose an entry is.
type Owner int

const (
	Nobody  Owner = iota // there is no such entry
	Ours                 // made here, for the asking home
	Another              // made here, for another home
	Foreign              // not made here
)

// Files are the kubeconfig files in use, in client-go's order.
func Files() []string { return options().GetLoadingPrecedence() }

// Merge puts the entry in, and makes its context the current one if use is set. It returns the file with the context.
func Merge(e Entry, use bool) (file string, err error) {
	err = modify(Files(), e.merge(use, &file))
	return file, err
}

// Mergeable returns nil if Merge could write the files that it has to.
func Mergeable(e Entry, use bool) error {
	files, err := load(Files())
	if err != nil {
		return err
	}
	var file string
	e.merge(use, &file)(files)
	differ, err := differing(files)
	if err != nil {
		return err
	}
	for _, path := range differ {
		if err := writable(path); err != nil {
			return err
		}
	}
	return nil
}

// merge returns what Merge does to the files, and notes which one has the context.
func (e Entry) merge(use bool, file *string) func([]loaded) {
	fallback := options().GetDefaultFilename()
	return func(files []loaded) {
		home := find(files, fallback)
		cluster, user, context := home, home, home
		for i := len(files) - 1; i >= 0; i-- { // the first that has an entry is the one that counts
			f := &files[i]
			if f.config.Clusters[e.Name] != nil {
				cluster = f
			}
			if f.config.AuthInfos[e.Name] != nil {
				user = f
			}
			if f.config.Contexts[e.Name] != nil {
				context = f
			}
		}
		cluster.config.Clusters[e.Name] = e.cluster()
		user.config.AuthInfos[e.Name] = e.user()
		namespace := ""
		if old := context.config.Contexts[e.Name]; old != nil {
			namespace = old.Namespace // somebody's choice, as kubectl config set-context makes it
		}
		context.config.Contexts[e.Name] = &api.Context{Cluster: e.Name, AuthInfo: e.Name, Namespace: namespace, Extensions: e.mark()}
		*file = context.path
		if use { // as kubectl writes it: home is the first of the files that exist, so that it counts
			home.config.CurrentContext = e.Name
		}
	}
}

// Remove takes a cluster's entries out of the files, and unsets the current context if it is the cluster's. Entries that
// are not the owner's stay. Files that do not exist hold nothing.
func Remove(name, owner string, files []string) error {
	return modify(existing(files), func(files []loaded) {
		for _, f := range files {
			if ownerOf(f.config, name, owner) != Ours {
				continue
			}
			delete(f.config.Contexts, name)
		}
		for _, f := range files {
			if cluster := f.config.Clusters[name]; cluster != nil && readMark(cluster.Extensions, owner) == Ours {
				delete(f.config.Clusters, name)
			}
			if user := f.config.AuthInfos[name]; user != nil && readMark(user.Extensions, owner) == Ours {
				delete(f.config.AuthInfos, name)
			}
		}
		unuse(files, name)
	})
}

// Use makes the cluster's context the current one if set is true, and returns the file that has the context.
func Use(name string, set bool) (file string, err error) {
	files, err := load(Files())
	if err != nil {
		return "", err
	}
	now := ""
	for _, f := range slices.Backward(files) {
		if f.config.Contexts[name] != nil {
			file = f.path
		}
		if f.config.CurrentContext != "" {
			now = f.config.CurrentContext
		}
	}
	if file == "" {
		return "", fail.New(fail.KubeconfigBad, "the kubeconfig has no context %q", name)
	}
	if !set || now == name {
		return file, nil
	}
	fallback := options().GetDefaultFilename()
	return file, modify(Files(), func(files []loaded) {
		find(files, fallback).config.CurrentContext = name
	})
}

// Unset makes no context the current one, if it is the cluster's.
func Unset(name string) error {
	return modify(existing(Files()), func(files []loaded) {
		for _, f := range files {
			if f.config.CurrentContext == name {
				f.config.CurrentContext = ""
			}
		}
	})
}

// existing are the files that are there: taking something out of the others makes nothing, not even a lock.
func existing(files []string) []string {
	return slices.DeleteFunc(slices.Clone(files), func(path string) bool {
		_, err := os.Stat(path)
		return errors.Is(err, fs.ErrNotExist)
	})
}

// unuse unsets a current context that no longer exists anywhere.
func unuse(files []loaded, name string) {
	for _, f := range files {
		if f.config.Contexts[name] != nil {
			return
		}
	}
	for _, f := range files {
		if f.config.CurrentContext == name {
			f.config.CurrentContext = ""
		}
	}
}

// Readable returns nil if those of the files that there are can be read.
func Readable(files ...string) error {
	_, err := load(files)
	return err
}

// Whose says whose the entries of that name are: the most foreign one counts.
func Whose(name, owner string) (Owner, error) {
	files, err := load(Files())
	if err != nil {
		return Nobody, err
	}
	whose := Nobody
	for _, f := range files {
		whose = max(whose, ownerOf(f.config, name, owner))
	}
	return whose, nil
}

// Embedded says whether the kubeconfig has the user's certificate itself, rather than the name of its file. So it has if there
// is no such user.
func Embedded(name string) bool {
	files, err := load(Files())
	if err != nil {
		return true
	}
	for _, f := range files {
		if user := f.config.AuthInfos[name]; user != nil {
			return user.ClientCertificate == ""
		}
	}
	return true
}

// Check returns nil if the kubeconfig leads to the server, and otherwise what is wrong with it.
func Check(name, server string) error {
	files, err := load(Files())
	if err != nil {
		return err
	}
	var cluster *api.Cluster
	context := false
	for _, f := range slices.Backward(files) {
		if c := f.config.Clusters[name]; c != nil {
			cluster = c
		}
		context = context || f.config.Contexts[name] != nil
	}
	switch {
	case !context:
		return fmt.Errorf("the kubeconfig has no context %q", name)
	case cluster == nil:
		return fmt.Errorf("the kubeconfig has no cluster %q", name)
	case cluster.Server != server:
		return fmt.Errorf("the kubeconfig has %s, the cluster is at %s", cluster.Server, server)
	}
	return nil
}

// IsAlone reports whether the file is a kubeconfig with this entry and no other, whatever its namespace is.
func IsAlone(path string, e Entry) bool {
	have, err := os.ReadFile(path)
	if err != nil {
		return false
	}
	want, err := alone(e, namespaceIn(path, e.Name))
	return err == nil && bytes.Equal(have, want)
}

// Write makes a kubeconfig file with this entry alone, for the owner of the file only. The namespace that somebody has chosen
// in it stays.
func Write(path string, e Entry) error {
	text, err := alone(e, namespaceIn(path, e.Name))
	if err != nil {
		return err
	}
	return atomicfile.Write(path, text, 0o600)
}

// alone is the same for the same entry.
func alone(e Entry, namespace string) ([]byte, error) {
	config := api.NewConfig()
	config.Clusters[e.Name], config.AuthInfos[e.Name] = e.cluster(), e.user()
	config.Contexts[e.Name] = &api.Context{Cluster: e.Name, AuthInfo: e.Name, Namespace: namespace}
	config.CurrentContext = e.Name
	return clientcmd.Write(*config)
}

func namespaceIn(path, context string) string {
	config, err := parse(path)
	if err != nil || config.Contexts[context] == nil {
		return ""
	}
	return config.Contexts[context].Namespace
}
