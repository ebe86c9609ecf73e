package cluster

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"syscall"
	"time"

	"github.com/dorykube/dory/drivers"
	"github.com/dorykube/dory/internal/atomicfile"
	"github.com/dorykube/dory/internal/fail"
	"github.com/dorykube/dory/provision"
)

// recordVersion is raised when an older dory would misread a record.
const recordVersion = 2

// migrations make a record of a version one of the next; the first is for version 1. One is written with its new version
// when something changes it next.
var migrations = [recordVersion - 1]func(*Record){
	func(*Record) {}, // version 1 knew no upgrades: none has begun
}

// Phase is how far a cluster has come in its life. Whether its machine runs is not in it: that is asked of the driver.
type Phase string

const (
	Making   Phase = "making"   // no start has ended well yet: nothing in it is worth keeping
	Made     Phase = "made"     // it was ready once: it may hold a user's data
	Deleting Phase = "deleting" // a delete has begun
)

// Record is what dory has wished for, done and found.
type Record struct {
	Version  int                `json:"version"`
	Name     string             `json:"name"`
	Driver   string             `json:"driver"`
	Phase    Phase              `json:"phase"`
	Spec     Spec               `json:"spec"`     // what the cluster is, or is being made to be
	Settings provision.Settings `json:"settings"` // what the node was provisioned with last
	Machine  drivers.Machine    `json:"machine"`
	// Upgrading is the version of Kubernetes that an upgrade has begun to put in the place of Spec's; empty: none has.
	Upgrading string `json:"upgrading,omitempty"`
	// Provisioned names what the node has been provisioned with, to the end; empty: it has not.
	Provisioned string `json:"provisioned,omitempty"`
	HostKey     string `json:"hostKey,omitempty"` // of the machine's SSH server; empty: never seen
	// Template is the key of the template that the machine was forked from; empty: it was booted.
	Template  string     `json:"template,omitempty"`
	Resources []Resource `json:"resources"`
	Created   time.Time  `json:"created"`
	Started   time.Time  `json:"started,omitzero"` // when a start last ended well
}

// Resource is something that exists outside of the cluster's directory, or will in a moment.
type Resource struct {
	Kind string    `json:"kind"` // "machine", "kubeconfig"
	Name string    `json:"name"` // UUID of the machine, path of the file
	Made bool      `json:"made"` // false: intended, may or may not exist
	Time time.Time `json:"time"`
}

// Kinds of resources.
const (
	machineResource    = "machine"
	kubeconfigResource = "kubeconfig"
)

// clone is a copy of which nothing is the original's.
func (r *Record) clone() (*Record, error) {
	text, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	copied := new(Record)
	return copied, json.Unmarshal(text, copied)
}

// intend notes that a resource may exist from now on; made, that it does.
func (r *Record) intend(kind, name string) { r.note(kind, name, false) }
func (r *Record) made(kind, name string)   { r.note(kind, name, true) }

func (r *Record) note(kind, name string, made bool) {
	for i := range r.Resources {
		if have := &r.Resources[i]; have.Kind == kind && have.Name == name {
			if made && !have.Made {
				have.Made, have.Time = true, time.Now()
			}
			return
		}
	}
	r.Resources = append(r.Resources, Resource{kind, name, made, time.Now()})
}

// has reports whether a resource of the kind is known to exist.
func (r *Record) has(kind string) bool {
	for _, have := range r.Resources {
		if have.Kind == kind && have.Made {
			return true
		}
	}
	return false
}

// load reads a cluster's record; fail.NoCluster if there is none.
func (f files) load(name string) (*Record, error) {
	text, err := os.ReadFile(f.path(recordFile))
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Stat(f.path(machineDir)); err != nil { // at most files of a start that was killed before it made anything
			return nil, fail.New(fail.NoCluster, "there is no cluster %q", name)
		}
		// A start writes the record before it makes the machine, and may have done both since.
		if text, err = os.ReadFile(f.path(recordFile)); errors.Is(err, fs.ErrNotExist) {
			return nil, fail.New(fail.RecordCorrupt, "cluster %q has lost its record %s", name, f.path(recordFile))
		}
	}
	if err != nil {
		return nil, fail.Wrap(fail.HostPermission, err, "read the record of cluster %q", name)
	}
	record := &Record{}
	decoder := json.NewDecoder(bytes.NewReader(text))
	if err := decoder.Decode(record); err != nil {
		return nil, fail.Wrap(fail.RecordCorrupt, err, "read the record %s", f.path(recordFile))
	}
	switch {
	case record.Version > recordVersion:
		return nil, fail.New(fail.RecordNewer, "the record %s has version %d, and this dory knows %d", f.path(recordFile), record.Version, recordVersion)
	case record.Version < 1, record.Name != name, record.Driver == "", record.Machine.UUID == "":
		return nil, fail.New(fail.RecordCorrupt, "the record %s lacks the cluster's name, driver or machine", f.path(recordFile))
	}
	for ; record.Version < recordVersion; record.Version++ {
		migrations[record.Version-1](record)
	}
	// A record of before there was a choice.
	record.Spec.CPUModel, record.Machine.CPUModel = cmp.Or(record.Spec.CPUModel, "auto"), cmp.Or(record.Machine.CPUModel, "auto")
	return record, nil
}

func (f files) save(r *Record) error { return f.writeJSON(recordFile, r) }

// machineIntent is all that ends a machine.
type machineIntent struct {
	Driver  string          `json:"driver"`
	Machine drivers.Machine `json:"machine"`
}

func (f files) saveMachine(r *Record) error {
	return f.writeJSON(machineFile, machineIntent{r.Driver, r.Machine})
}

// findMachine returns the machine that delete has to end, from whatever file still tells of it. Its directory is always
// the cluster's, whatever a file says.
func (f files) findMachine(name string) (intent machineIntent, found bool) {
	if record, err := f.load(name); err == nil {
		intent = machineIntent{record.Driver, record.Machine}
	} else {
		text, err := os.ReadFile(f.path(machineFile))
		if err != nil || json.Unmarshal(text, &intent) != nil || intent.Driver == "" || intent.Machine.UUID == "" {
			return intent, false
		}
	}
	intent.Machine.Dir = f.path(machineDir)
	return intent, true
}

func (f files) writeJSON(name string, value any) error {
	text, err := json.MarshalIndent(value, "", "  ")
	if err != nil {
		return err
	}
	return hostError(atomicfile.Write(f.path(name), append(text, '\n'), 0o600), "write "+f.path(name))
}

// hostError makes what this computer's file system refuses a failure with a remedy. nil stays nil.
func hostError(err error, what string) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT), errors.Is(err, syscall.EFBIG):
		return fail.Wrap(fail.DiskTooMuch, err, "%s", what)
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		return fail.Wrap(fail.HostPermission, err, "%s", what)
	default:
		return fail.Wrap(fail.General, err, "%s", what)
	}
}
