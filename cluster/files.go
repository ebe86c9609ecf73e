package cluster

import (
	"os"
	"path/filepath"
)

// The files that dory keeps of its clusters, all below home.Dirs.State. Directories are 0700, files 0600.
//
//	clusters/NAME.lock     held by the dory process that works on the cluster; says which (lock.go)
//	clusters/NAME/
//	    cluster.json       the record: what was wished, done and found (record.go)
//	    machine.json       driver and machine, written once before the first is asked for the second; what delete goes by
//	                       when the record cannot be read
//	    ssh.key            login key of root on the machine, OpenSSH PEM
//	    pki/               the cluster's authorities and service-account key (package pki)
//	    ca.crt, client.crt, client.key
//	                       how this computer logs in to the API server
//	    kubeconfig         the same as a kubeconfig file, for 'dory kubectl'
//	    dory.log           everything that was done, JSON lines
//	    machine/           the driver's own
const (
	clustersDir    = "clusters"
	lockSuffix     = ".lock"
	recordFile     = "cluster.json"
	machineFile    = "machine.json"
	sshKeyFile     = "ssh.key"
	pkiDir         = "pki"
	caFile         = "ca.crt"
	clientCertFile = "client.crt"
	clientKeyFile  = "client.key"
	kubeconfigFile = "kubeconfig"
	logFile        = "dory.log"
	machineDir     = "machine"
	makingConsole  = "making-console.log" // of the template's machine, where its making failed
)

// files are the paths of one cluster.
type files struct{ dir string }

func (m *Manager) files(name string) files {
	return files{filepath.Join(m.Dirs.State, clustersDir, name)}
}

// kubectlDir has a kubectl for each bundle that was asked for one.
func (m *Manager) kubectlDir() string { return filepath.Join(m.Dirs.Cache, "kubectl") }

func (f files) lock() string            { return f.dir + lockSuffix }
func (f files) path(name string) string { return filepath.Join(f.dir, name) }

// has reports whether there is a file of that name.
func (f files) has(name string) bool {
	_, err := os.Stat(f.path(name))
	return err == nil
}

// exist reports whether the cluster has a directory, or whatever bears its name.
func (f files) exist() bool {
	_, err := os.Lstat(f.dir)
	return !os.IsNotExist(err)
}
