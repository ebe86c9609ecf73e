// Package cluster is what the verbs do: the spec that a user wishes for, the record of what was done, and the life of a
// cluster in between.
//
// What a cluster is lies in its directory (files.go). Its record says what was wished and made: everything that exists
// outside of that directory (the machine, entries in a kubeconfig) is written down as intended before it is made and as
// made afterwards, so that a process that ends anywhere leaves a record from which the next start goes on and the next
// delete finds everything. Whether the machine runs is never written down: the driver is asked.
//
//	            start                    start ended well
//	(nothing) ---------> making  ------------------------------> made <---+
//	    ^                 |  ^                                    |  |     |
//	    |                 |  +-- start: goes on, or starts over   |  +-----+
//	    |                 |      if something else is wished      |  start, stop, pause: the machine comes and goes
//	    |     delete      v                  delete               v
//	    +------------- deleting <---------------------------------+
//
// A cluster that is being made holds nothing of the user's, and a start may throw it away to begin anew; one that was
// ready once is only ever removed by delete. Verbs that change something hold the cluster's lock; those that only look
// do not.
package cluster

import (
	"context"
	"io"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/dorykube/dory/drivers"
	"github.com/dorykube/dory/drivers/registry"
	"github.com/dorykube/dory/internal/fail"
	"github.com/dorykube/dory/internal/home"
	"github.com/dorykube/dory/internal/hostinfo"
	"github.com/dorykube/dory/internal/progress"
)

// Manager does what verbs ask for, with the clusters of one home.
type Manager struct {
	Dirs home.Dirs
	Host hostinfo.Host
	// Verbose also gets what goes into the clusters' log files; nil: nobody does.
	Verbose slog.Handler

	parts parts
}

// New returns a manager that works with real drivers and nodes.
func New(dirs home.Dirs, verbose slog.Handler) *Manager {
	return &Manager{Dirs: dirs, Host: hostinfo.Find(), Verbose: verbose, parts: realParts()}
}

// held is a cluster whose lock is held.
type held struct {
	*Manager
	name   string
	files  files
	lock   *lock
	log    *slog.Logger
	logTo  *lateFile
	driver drivers.Driver
	record *Record
}

// hold locks the cluster. The directory need not exist.
func (m *Manager) hold(ctx context.Context, name, verb string) (*held, error) {
	if err := CheckName(name); err != nil {
		return nil, err
	}
	f := m.files(name)
	l, err := acquire(ctx, f.lock(), verb)
	if err != nil {
		return nil, err
	}
	out := &lateFile{}
	return &held{Manager: m, name: name, files: f, lock: l, logTo: out,
		log: m.logger(out).With("cluster", name, "pid", os.Getpid())}, nil
}

// holdExisting locks a cluster that must exist, and reads its record.
func (m *Manager) holdExisting(ctx context.Context, name, verb string) (*held, error) {
	if _, err := m.look(name); err != nil {
		return nil, err // without leaving a lock file behind for a name that is none
	}
	h, err := m.hold(ctx, name, verb)
	if err != nil {
		return nil, err
	}
	if h.record, err = h.files.load(name); err == nil {
		h.openLog(verb)
		h.record.Machine.Dir = h.files.path(machineDir)
		err = h.open(h.record.Driver, h.record.Machine.URI)
	}
	if err != nil {
		h.release()
		return nil, err
	}
	return h, nil
}

// look reads the record of a cluster without locking it.
func (m *Manager) look(name string) (*Record, error) {
	if err := CheckName(name); err != nil {
		return nil, err
	}
	return m.files(name).load(name)
}

// open gets the driver. uri is the hypervisor that it is to check, where it knows more than one.
func (h *held) open(name, uri string) error {
	entry, err := h.parts.driver(name)
	if err == nil {
		options := h.driverOptions(h.log)
		options.URI = uri
		h.driver = entry.New(options)
	}
	return err
}

func (m *Manager) openDriver(name string, log *slog.Logger) (drivers.Driver, error) {
	entry, err := m.parts.driver(name)
	if err != nil {
		return nil, err
	}
	return entry.New(m.driverOptions(log)), nil
}

func (m *Manager) driverOptions(log *slog.Logger) registry.Options {
	return registry.Options{Cache: m.Dirs.Cache, Log: log}
}

// release lets go of the lock. Without a cluster, because nothing came of it or another dory has just deleted it, the lock's
// file goes too.
func (h *held) release() {
	h.logTo.close()
	if !h.files.exist() {
		h.lock.remove()
	}
	h.lock.release()
}

// openLog appends to the cluster's log from now on; its directory must exist.
func (h *held) openLog(verb string) {
	h.logTo.open(h.files.path(logFile))
	h.log.Info("begin", "verb", verb)
}

func (m *Manager) logger(to io.Writer) *slog.Logger {
	var handlers []slog.Handler
	if to != nil {
		handlers = append(handlers, slog.NewJSONHandler(to, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	if m.Verbose != nil {
		handlers = append(handlers, m.Verbose)
	}
	return slog.New(slog.NewMultiHandler(handlers...))
}

// lateFile keeps what is written until there is a file for it: a new cluster has no directory at first.
type lateFile struct {
	mu   sync.Mutex
	kept []byte
	file *os.File
}

func (l *lateFile) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == nil {
		l.kept = append(l.kept, p...)
		return len(p), nil
	}
	return l.file.Write(p)
}

// open ignores errors: a log is no reason not to go on, and whatever is wrong with the directory shows in a moment.
func (l *lateFile) open(path string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil || l.file != nil {
		return
	}
	f.Write(l.kept)
	l.kept, l.file = nil, f
}

func (l *lateFile) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file != nil {
		l.file.Close()
	}
	l.file, l.kept = nil, nil
}

// logged returns a context whose progress is also in the log.
func (h *held) logged(ctx context.Context) context.Context {
	return progress.With(ctx, logReporter{progress.From(ctx), h.log})
}

type logReporter struct {
	progress.Reporter
	log *slog.Logger
}

func (r logReporter) StepDone(s progress.Step, took time.Duration, result string, err error) {
	if err != nil {
		r.log.Error("step failed", "step", s.Name, "took", took.String(), "err", err, "evidence", fail.As(err).Evidence)
	} else {
		r.log.Info("step done", "step", s.Name, "took", took.String(), "result", result)
	}
	r.Reporter.StepDone(s, took, result, err)
}

func (r logReporter) StepStarted(s progress.Step) {
	r.log.Debug("step", "step", s.Name)
	r.Reporter.StepStarted(s)
}

func (r logReporter) PartDone(name string, took time.Duration) {
	r.log.Debug("part done", "part", name, "took", took.String())
	r.Reporter.PartDone(name, took)
}

func (r logReporter) Info(message string) {
	r.log.Info(message)
	r.Reporter.Info(message)
}

func (r logReporter) Warn(message string) {
	r.log.Warn(message)
	r.Reporter.Warn(message)
}

// Logged is a failure that has more about it in a log file.
type Logged struct {
	Err  error
	File string
}

func (l *Logged) Error() string { return l.Err.Error() }
func (l *Logged) Unwrap() error { return l.Err }
