package cluster

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"time"

	"github.com/dorykube/dory/drivers"
	"github.com/dorykube/dory/internal/atomicfile"
	"github.com/dorykube/dory/internal/fail"
	"github.com/dorykube/dory/internal/kube"
	"github.com/dorykube/dory/internal/kubeconfig"
	"github.com/dorykube/dory/internal/progress"
	"github.com/dorykube/dory/provision/pki"
)

// asWished reports whether the cluster is all that is wished already: it runs, nothing is to be changed, and what is waited
// for holds.
func (s *start) asWished(ctx context.Context) bool {
	if s.plan.Action != Keep || s.status.State != drivers.Running {
		return false
	}
	if key, err := provisionKey(s.record.Settings); err != nil || key != s.record.Provisioned {
		return false
	}
	client, err := s.client(s.apiAddress())
	if err != nil {
		return false
	}
	wait, err := kube.ParseWait(s.options.Wait)
	if err != nil {
		return false
	}
	// Not longer than it is worth: whatever does not hold soon is the long way's to look into.
	limited, cancel := context.WithTimeout(ctx, quickLook)
	defer cancel()
	if client.Ready(limited) != nil || client.Holds(limited, wait) != nil || s.certificatesDue(limited, client) {
		return false
	}
	// Pods that were ready are called ready still, whatever became of their node.
	if kubelet, lacks := kubeletState(limited, client); kubelet != running || lacks != "" && len(wait) > 0 {
		return false
	}
	if skew := clockSkew(limited, client); skew != 0 {
		if s.borrowed(s.record.Driver) {
			progress.From(ctx).Warn(describeSkew(skew) + "; " + ownClock)
		} else {
			progress.From(ctx).Info(describeSkew(skew) + ", and is set")
			s.mendClock(ctx, s.name)
		}
	}
	return true
}

// wayIn sees to it that the kubeconfig leads to a cluster that is as wished.
func (s *start) wayIn(ctx context.Context) (*Started, error) {
	if done := s.nothingToDo(ctx); done != nil {
		return done, nil
	}
	authority, err := s.openAuthority()
	if err != nil {
		return nil, err
	}
	return s.finish(ctx, authority)
}

// nothingToDo returns the summary if the kubeconfig is as wished too, otherwise nil.
func (s *start) nothingToDo(ctx context.Context) *Started {
	started := s.summary()
	started.Nothing = true
	_, certs := s.plan.Sources["embed-certs"] // who says how they are wanted gets them written anew
	if certs || kubeconfig.Check(s.name, started.Server) != nil || !s.ownKubeconfigIsWhole(started.Server) {
		return nil
	}
	started.Current = !s.options.KeepContext
	var err error
	if started.Kubeconfig, err = kubeconfig.Use(s.name, started.Current); err != nil {
		return nil
	}
	s.remind(ctx)
	return started
}

// certificatesDue reports whether it is time for new certificates: here, or on the node, where all are as old as the API
// server's. A server that does not say is not due.
func (s *start) certificatesDue(ctx context.Context, client api) bool {
	_, own, _, err := s.files.credentials()
	if err != nil || pki.Due(own, time.Now()) {
		return true
	}
	server, err := client.Certificate(ctx)
	return err == nil && pki.Due(server, time.Now())
}

// nodeIsDue asks the API server of a machine that has gone on whether its node needs more than to go on: it may have been saved a long
// time ago.
func (s *start) nodeIsDue(ctx context.Context) bool {
	client, err := s.client(s.apiAddress())
	if err != nil {
		return true
	}
	limited, cancel := context.WithTimeout(ctx, quickLook)
	defer cancel()
	gone := make(chan bool, 1)
	go func() {
		_, err := client.Get(limited, nodePath)
		gone <- errors.Is(err, kube.ErrNotFound) // somebody has deleted it, and its kubelet must be told
	}()
	due := s.certificatesDue(limited, client)
	return <-gone || due
}

// quickLook is how long it may take to find that nothing is to be done. On an idle computer it takes 0.1 s, but an emulated
// guest may be as busy as its host. An API server that refuses, or says that it is not ready, is believed at once.
const quickLook = 15 * time.Second

func (s *start) summary() *Started {
	return &Started{Name: s.name, Kubernetes: s.record.Settings.KubernetesVersion, Server: "https://" + s.apiAddress()}
}

// finish gives this computer the way in, and notes that the cluster is there.
func (s *start) finish(ctx context.Context, authority *pki.Authority) (*Started, error) {
	started := s.summary()
	err := progress.Do(ctx, kubeconfigStep, func(context.Context) (string, error) {
		started.Current = !s.options.KeepContext
		var err error
		started.Kubeconfig, err = s.writeKubeconfig(authority, started.Server)
		return "context " + s.name, err
	})
	if err != nil {
		return nil, err
	}
	s.record.Phase, s.record.Upgrading, s.record.Started = Made, "", time.Now()
	s.remind(ctx)
	return started, s.files.save(s.record)
}

// writeKubeconfig puts the cluster into the kubeconfig, and returns the file that has its context.
func (s *start) writeKubeconfig(authority *pki.Authority, server string) (file string, err error) {
	entry, err := s.writeCredentials(authority, server)
	if err != nil {
		return "", err
	}
	for _, file := range kubeconfig.Files() {
		s.record.intend(kubeconfigResource, absolute(file))
	}
	if err := s.saveMachine(); err != nil {
		return "", err
	}
	if file, err = kubeconfig.Merge(entry, !s.options.KeepContext); err != nil {
		return "", err
	}
	s.record.made(kubeconfigResource, absolute(file))
	return file, nil
}

// writeCredentials makes a new client certificate, writes it into the cluster's directory, and returns what a kubeconfig
// gets.
func (s *start) writeCredentials(authority *pki.Authority, server string) (kubeconfig.Entry, error) {
	ca, cert, key, err := authority.AdminKubeconfigAuth()
	if err != nil {
		return kubeconfig.Entry{}, err
	}
	for name, content := range map[string][]byte{caFile: ca, clientCertFile: cert, clientKeyFile: key} {
		if err := atomicfile.Write(s.files.path(name), content, 0o600); err != nil {
			return kubeconfig.Entry{}, hostError(err, "write the cluster's credentials")
		}
	}
	entry := s.entry(server, ca, cert, key)
	if err := kubeconfig.Write(s.files.path(kubeconfigFile), entry); err != nil {
		return entry, hostError(err, "write the cluster's own kubeconfig")
	}
	if !s.options.EmbedCerts {
		entry.CA, entry.Cert, entry.Key = nil, nil, nil
		entry.CAFile, entry.CertFile, entry.KeyFile = s.files.path(caFile), s.files.path(clientCertFile), s.files.path(clientKeyFile)
	}
	return entry, nil
}

// entry is what the cluster's own kubeconfig has.
func (s *start) entry(server string, ca, cert, key []byte) kubeconfig.Entry {
	return kubeconfig.Entry{Name: s.name, Server: server, Owner: s.Dirs.State, CA: ca, Cert: cert, Key: key}
}

// ownKubeconfigIsWhole reports whether the cluster's own kubeconfig is as the last start wrote it, but for a namespace that was
// chosen in it.
func (s *start) ownKubeconfigIsWhole(server string) bool {
	ca, cert, key, err := s.files.credentials()
	if err != nil {
		return false
	}
	return kubeconfig.IsAlone(s.files.path(kubeconfigFile), s.entry(server, ca, cert, key))
}

// credentials are what the last start wrote.
func (f files) credentials() (ca, cert, key []byte, err error) {
	if ca, err = os.ReadFile(f.path(caFile)); err != nil {
		return nil, nil, nil, err
	}
	if cert, err = os.ReadFile(f.path(clientCertFile)); err != nil {
		return nil, nil, nil, err
	}
	key, err = os.ReadFile(f.path(clientKeyFile))
	return ca, cert, key, err
}

// client is a client of the cluster's API server, with the credentials that the last start wrote.
func (s *start) client(address string) (api, error) { return s.Manager.client(s.files, address) }

func (m *Manager) client(f files, address string) (api, error) {
	ca, cert, key, err := f.credentials()
	if err != nil {
		return nil, err
	}
	return m.parts.api(ca, cert, key, "https://"+address)
}

func absolute(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return path
}

// failed leaves what was there before, and says where to read more.
func (s *start) failed(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		err = fail.New(fail.Interrupted, "the start of cluster %q was interrupted", s.name).
			WithAdvice("'dory start -p %s' goes on, 'dory delete -p %s' removes what there is", s.name, s.name)
	}
	s.log.Error("start failed", "err", err, "evidence", fail.As(err).Evidence)
	nothing := s.record == nil || s.before == nil && !s.record.has(machineResource) && !s.files.has(makingConsole)
	switch {
	case nothing:
		s.driveOut(context.WithoutCancel(ctx))
		return err
	case s.options.DeleteOnFailure && ctx.Err() == nil:
		progress.From(ctx).Warn("the cluster could not be started and is deleted, as --delete-on-failure says")
		if deleted := s.removeAll(ctx); deleted != nil {
			return joinFailures(err, deleted)
		}
		return err
	}
	return &Logged{err, s.files.path(logFile)}
}

// driveOut removes everything of a cluster of which no more than the directory was made.
func (s *start) driveOut(ctx context.Context) {
	if s.record != nil {
		if s.driver.Delete(ctx, s.record.Machine) != nil {
			return // then the record is needed to try again
		}
	}
	if s.before == nil {
		s.removeFiles()
	}
}

// joinFailures keeps the first as what it is, and adds the other's words to its evidence.
func joinFailures(err, other error) error {
	failure := *fail.As(err)
	failure.Evidence = join(failure.Evidence, other.Error())
	return &failure
}
