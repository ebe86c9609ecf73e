package cluster

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/dorykube/dory/drivers"
	"github.com/dorykube/dory/internal/atomicfile"
	"github.com/dorykube/dory/internal/fail"
	"github.com/dorykube/dory/internal/kubeconfig"
	"github.com/dorykube/dory/internal/progress"
	"github.com/dorykube/dory/internal/sshrun"
	"github.com/dorykube/dory/provision"
	"github.com/dorykube/dory/provision/pki"
)

// Started is what came of a start.
type Started struct {
	Name       string
	Kubernetes string
	Server     string // https://host:port of the API server
	Kubeconfig string // the file that has the context
	Current    bool   // the context is the current one
	Nothing    bool   // everything was as wished already
	Took       time.Duration
}

// Start makes the cluster exist, run and be as wished. What cannot be done is refused before anything is touched; a
// start that fails leaves what was there before.
func (m *Manager) Start(ctx context.Context, name string, wanted Wanted) (*Started, error) {
	began := time.Now()
	if _, err := m.Plan(name, wanted); err != nil {
		return nil, err
	}
	if wanted.Options.DownloadOnly {
		return &Started{Name: name, Nothing: true}, m.checkArtifacts(ctx, wanted.Spec.KubernetesVersion)
	}
	h, err := m.hold(ctx, name, "start")
	if err != nil {
		return nil, err
	}
	defer h.release()
	s, err := h.plan(ctx, wanted)
	if err != nil {
		return nil, err
	}
	ctx = h.logged(ctx)
	started, err := s.run(ctx)
	if err != nil {
		return nil, s.failed(ctx, err)
	}
	h.log.Info("end", "verb", "start", "took", time.Since(began).String())
	started.Took = time.Since(began)
	return started, nil
}

// checkArtifacts is 'start --download-only'.
func (m *Manager) checkArtifacts(ctx context.Context, version string) error {
	return progress.Do(ctx, artifactStep, func(ctx context.Context) (string, error) {
		version, err := ResolveVersion(version)
		if err != nil {
			return "", err
		}
		_, err = m.parts.artifacts(ctx, m.Dirs, version)
		return version, err
	})
}

// Steps of a start, besides those of package provision.
var (
	artifactStep   = progress.Step{Name: "artifacts", Title: "Checking node image and bundle"}
	machineStep    = progress.Step{Name: "machine", Title: "Making the machine"}
	bootStep       = progress.Step{Name: "boot", Title: "Booting the machine"}
	kubeconfigStep = progress.Step{Name: "kubeconfig", Title: "Writing the kubeconfig"}
	saveStep       = progress.Step{Name: "save", Title: "Saving the machine"}
	stopStep       = progress.Step{Name: "stop", Title: "Stopping the machine"}
	deleteStep     = progress.Step{Name: "delete", Title: "Deleting the cluster"}
	growStep       = progress.Step{Name: "grow", Title: "Growing the disk and its file system"}
	rollBackStep   = progress.Step{Name: "rollback", Title: "Going back to the previous Kubernetes"}
	revertStep     = progress.Step{Name: "revert", Title: "Putting the previous settings back"}
)

// start is one run of Start.
type start struct {
	*held
	plan    Plan
	options Options
	before  *Record // as it was on disk when the start began; nil: there was no cluster
	status  drivers.Status
	from    artifacts // what the machine is made from
	ran     bool      // the machine ran already when the start began
	changed bool      // the node may have been changed from what before says
}

// plan looks again, now that nobody else changes the cluster, and gets everything ready that a start needs.
func (h *held) plan(ctx context.Context, wanted Wanted) (*start, error) {
	before, err := h.files.load(h.name)
	if err != nil && !fail.Is(err, fail.NoCluster) {
		return nil, err
	}
	plan, err := h.Manager.plan(h.name, before, wanted)
	if err != nil {
		return nil, err
	}
	s := &start{held: h, plan: plan, options: wanted.Options, before: before}
	if plan.Action == Create {
		if slices.Contains(h.homeless(ctx), h.name) {
			return nil, fail.New(fail.RecordCorrupt, "cluster %q is there still: its directory is gone, and its machine runs", h.name).
				WithAdvice("'dory delete -p %s' ends it; then start it anew", h.name)
		}
		return s, h.checkContext(ctx)
	}
	if err := kubeconfig.Readable(kubeconfig.Files()...); err != nil { // it is written last
		return nil, err
	}
	if h.record, err = before.clone(); err != nil {
		return nil, err
	}
	h.openLog("start")
	if err := h.open(before.Driver, before.Machine.URI); err != nil {
		return nil, err
	}
	h.record.Machine.Dir = h.files.path(machineDir)
	if s.status, err = h.driver.Status(ctx, h.record.Machine); err != nil {
		return nil, err
	}
	if err := h.lost(before, s.status); err != nil {
		return nil, err
	}
	s.ran = s.status.State == drivers.Running
	if kubeconfig.Check(h.name, "https://"+s.apiAddress()) == nil {
		return s, nil // whoever wrote it, it leads to this cluster
	}
	return s, h.checkContext(ctx)
}

// checkContext refuses a name that the kubeconfig has for something which is not dory's.
func (h *held) checkContext(ctx context.Context) error {
	whose, err := kubeconfig.Whose(h.name, h.Dirs.State)
	switch {
	case err != nil:
		return err
	case whose == kubeconfig.Foreign:
		return fail.New(fail.KubeconfigTaken, "the kubeconfig has a context, a cluster or a user %q that dory did not make", h.name)
	case whose == kubeconfig.Another:
		progress.From(ctx).Warn(fmt.Sprintf("the context %q, of a cluster with another DORY_HOME, will lead to this one", h.name))
	}
	return nil
}

// run is the way of a start.
func (s *start) run(ctx context.Context) (*Started, error) {
	if s.asWished(ctx) {
		return s.wayIn(ctx)
	}
	// It is written last; that it cannot be is said before anything is made.
	if err := kubeconfig.Mergeable(kubeconfig.Entry{Name: s.name, Owner: s.Dirs.State}, !s.options.KeepContext); err != nil {
		return nil, err
	}
	s.announce(ctx)
	if err := s.prepare(ctx); err != nil {
		return nil, err
	}
	make := s.fromNothing
	if s.record.Phase == Making && s.forkable() {
		make = s.fromTemplate
	}
	authority, err := make(ctx)
	if err != nil {
		return nil, err
	}
	return s.finish(ctx, authority)
}

// fromNothing boots the machine and provisions it, as far as that has not been done; or lets it go on where it was saved.
func (s *start) fromNothing(ctx context.Context) (*pki.Authority, error) {
	authority, err := s.bootAndProvision(ctx)
	if err != nil {
		return nil, s.rollBack(ctx, err)
	}
	return authority, nil
}

func (s *start) bootAndProvision(ctx context.Context) (*pki.Authority, error) {
	up := s.status.State == drivers.Running || s.status.State == drivers.Paused
	if err := s.makeMachine(ctx); err != nil {
		return nil, err
	}
	node, authority, err := s.boot(ctx)
	if err != nil {
		return nil, err
	}
	defer node.Close()
	if up && s.record.Provisioned != "" && !s.record.Settings.Borrowed { // it may have stood still
		setClock(ctx, node)
	}
	if err := s.grow(ctx, node); err != nil {
		return nil, err
	}
	if s.status.Resumed && !s.changed && !s.nodeIsDue(ctx) {
		return authority, s.resumed(ctx, node, authority)
	}
	if s.status.Resumed { // its clock stands where it stood
		if err := provision.SetClock(ctx, node); err != nil {
			return nil, err
		}
	}
	if err := s.provision(ctx, node, authority); err != nil {
		return nil, err
	}
	return authority, s.endUpgrade(ctx, node)
}

// prepare checks what a machine is made from, makes way, and writes down what will be.
func (s *start) prepare(ctx context.Context) error {
	running := s.status.State == drivers.Running || s.status.State == drivers.Paused
	if s.before == nil || !running {
		if err := s.checkDriver(ctx); err != nil {
			return err
		}
	}
	err := progress.Do(ctx, artifactStep, func(ctx context.Context) (string, error) {
		var err error
		s.from, err = s.parts.artifacts(ctx, s.Dirs, s.plan.Spec.KubernetesVersion)
		return s.plan.Spec.KubernetesVersion, err
	})
	if err != nil {
		return err
	}
	switch {
	case s.plan.Action == Recreate, s.before != nil && s.before.Phase == Deleting:
		progress.From(ctx).Info("what an unfinished start or delete left is removed first")
		if err := s.removeAll(ctx); err != nil {
			return err
		}
		s.before, s.status, s.ran = nil, drivers.Status{}, false
		fallthrough
	case s.plan.Action == Create:
		return s.begin()
	}
	return s.update(ctx, running)
}

// begin writes the record of a new cluster, and its login key.
func (s *start) begin() error {
	if err := os.MkdirAll(s.files.dir, 0o700); err != nil {
		return hostError(err, "make the cluster's directory")
	}
	s.openLog("start")
	private, authorized, err := sshrun.NewKey()
	if err != nil {
		return err
	}
	if err := atomicfile.Write(s.files.path(sshKeyFile), private, 0o600); err != nil {
		return hostError(err, "write the login key")
	}
	s.record = &Record{
		Version: recordVersion, Name: s.name, Driver: s.plan.Spec.Driver, Phase: Making, Spec: s.plan.Spec, Created: time.Now(),
		Machine: machineFor(s.plan.Spec, s.name, newUUID(), s.files.path(machineDir)),
	}
	s.record.Machine.AuthorizedKey = authorized
	s.record.Machine.Image, s.record.Machine.Bundle = s.from.image, s.from.bundle
	s.record.Settings = provisionSettings(s.plan.Spec, s.from.images, userNetwork)
	s.record.intend(machineResource, s.record.Machine.UUID)
	// First what delete goes by if the record is lost: there is never a record without it.
	if err := s.files.saveMachine(s.record); err != nil {
		return err
	}
	return s.files.save(s.record)
}

// update writes down what becomes of a cluster that exists. A cluster that was ready once keeps the spec and settings
// that it is known to work with, until it works with the new ones.
func (s *start) update(ctx context.Context, running bool) error {
	making := s.record.Phase == Making
	if making && running && (hasChange(s.plan.Diffs, AtBoot) || hasChange(s.plan.Diffs, Grow)) { // there is nothing to keep it up for
		if err := s.driver.Stop(ctx, s.record.Machine, 0); err != nil {
			return err
		}
		s.status, s.ran, running = drivers.Status{State: drivers.Stopped}, false, false
	}
	if !making && s.plan.Spec.KubernetesVersion != s.record.Spec.KubernetesVersion {
		var err error
		if running, err = s.beginUpgrade(ctx, running); err != nil {
			return err
		}
	}
	machine := &s.record.Machine
	if !running {
		wanted := machineFor(s.plan.Spec, s.name, machine.UUID, machine.Dir)
		machine.CPUs, machine.Memory, machine.Disk = wanted.CPUs, wanted.Memory, wanted.Disk
		machine.Accel, machine.CPUModel, machine.Ephemeral = wanted.Accel, wanted.CPUModel, wanted.Ephemeral
		machine.Image, machine.Bundle = s.from.image, s.from.bundle
	}
	settings := provisionSettings(s.plan.Spec, s.from.images, network{s.record.Settings.NodeIP, s.record.Settings.HostIP})
	settings.Ephemeral = machine.Ephemeral // etcd as its disk
	if making {
		s.record.Spec, s.record.Settings = s.plan.Spec, settings
		return s.files.save(s.record)
	}
	was, err := provisionKey(s.record.Settings)
	if err != nil {
		return err
	}
	now, err := provisionKey(settings)
	s.changed = was != now
	s.record.Spec, s.record.Settings = s.plan.Spec, settings // in memory: on disk when the start has ended well
	return err
}

// saveMachine writes what was found out about the machine, beside the spec and settings that are on disk.
func (s *start) saveMachine() error {
	onDisk := *s.record
	if s.before != nil && s.before.Phase == Made {
		onDisk.Spec, onDisk.Settings = s.before.Spec, s.before.Settings
	}
	return s.files.save(&onDisk)
}

// newUUID is a random UUID, version 4 of RFC 9562.
func newUUID() string {
	var b [16]byte
	rand.Read(b[:]) // never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
