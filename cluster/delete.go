package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/dorykube/dory/drivers/libvirt"
	"github.com/dorykube/dory/drivers/qemu"
	"github.com/dorykube/dory/internal/fail"
	"github.com/dorykube/dory/internal/kubeconfig"
	"github.com/dorykube/dory/internal/progress"
)

// Delete removes every trace of a cluster, whatever state its files are in. It says whether there was anything.
func (m *Manager) Delete(ctx context.Context, name string) (existed bool, err error) {
	if err := CheckName(name); err != nil {
		return false, err
	}
	f := m.files(name)
	if _, err := os.Lstat(f.lock()); os.IsNotExist(err) && !f.exist() {
		return m.deleteTraces(ctx, f, name) // without making a lock's file for a name that is none
	}
	h, err := m.hold(ctx, name, "delete")
	if err != nil {
		return false, err
	}
	defer h.release()
	if !f.exist() { // whoever held the lock has deleted it
		return m.deleteTraces(ctx, f, name)
	}
	h.openLog("delete")
	err = progress.Do(ctx, deleteStep, func(ctx context.Context) (string, error) {
		return name, h.removeAll(ctx)
	})
	if err != nil {
		return true, err
	}
	h.release()           // templates have locks of their own
	m.sweepTemplates(ctx) // a start that was killed may have been making one
	return true, nil
}

// deleteTraces removes what there may be of a cluster that has no directory: what a delete that was cut short left last.
func (m *Manager) deleteTraces(ctx context.Context, f files, name string) (existed bool, err error) {
	existed, err = m.deleteOwned(ctx, f)
	return existed, errors.Join(err, kubeconfig.Remove(name, m.Dirs.State, kubeconfig.Files()))
}

// removeAll is the list of what a cluster leaves behind. The removals are independent; the directory, by which the rest
// is found, goes last, and only if the rest is gone.
func (h *held) removeAll(ctx context.Context) error {
	h.noteDeleting()
	err := errors.Join(h.removeMachine(ctx), h.removeContexts(ctx))
	if err != nil {
		h.noteDeleting() // there may be room for it now
		return err
	}
	return h.removeFiles()
}

// noteDeleting makes a later start begin anew, rather than go on with half a cluster.
func (h *held) noteDeleting() {
	if record, err := h.files.load(h.name); err == nil && record.Phase != Deleting {
		record.Phase = Deleting
		h.files.save(record) // if that fails, the disk may be full: all the more reason to go on
	}
}

func (h *held) removeMachine(ctx context.Context) error {
	intent, found := h.files.findMachine(h.name)
	if !found {
		if _, err := h.deleteOwned(ctx, h.files); err != nil {
			return err
		}
		if entries, err := os.ReadDir(h.files.path(machineDir)); err == nil && len(entries) > 0 {
			return fail.New(fail.RecordCorrupt, "neither %s nor %s says which machine cluster %q has", recordFile, machineFile, h.name).
				WithAdvice("end its process, if there is one with %s in its arguments, then remove that directory and delete again", h.files.path(machineDir))
		}
		return nil // there was never a machine: the record is written before
	}
	driver, err := h.openDriver(intent.Driver, h.log)
	if err != nil {
		return err
	}
	if err := driver.Delete(ctx, intent.Machine); err != nil {
		return fmt.Errorf("delete the machine of cluster %q: %w", h.name, err)
	}
	return nil
}

// removeContexts takes the cluster's entries out of the kubeconfig files that the record names, and out of those in use. A
// file that cannot be read leads nobody to the cluster, and keeps it from nothing.
func (h *held) removeContexts(ctx context.Context) error {
	paths := kubeconfig.Files()
	if record, err := h.files.load(h.name); err == nil {
		for _, r := range record.Resources {
			if r.Kind == kubeconfigResource && !slices.Contains(paths, r.Name) {
				paths = append(paths, r.Name)
			}
		}
	}
	var failures []error
	for _, path := range paths { // one by one: a garbled file keeps no other from being cleaned
		if err := kubeconfig.Readable(path); err != nil {
			progress.From(ctx).Warn("the cluster's entries, if it has any, stay where they are: " + err.Error())
			continue
		}
		failures = append(failures, kubeconfig.Remove(h.name, h.Dirs.State, []string{path}))
	}
	return errors.Join(failures...)
}

// removeFiles removes the cluster's directory. The record goes last, so that what is left can be found again: without it, a
// machine's directory would be taken for a cluster that has lost its record.
func (h *held) removeFiles() error {
	h.logTo.close()
	entries, err := os.ReadDir(h.files.dir)
	if os.IsNotExist(err) {
		return nil
	}
	var failures []error
	for _, entry := range entries {
		if name := entry.Name(); name != recordFile {
			failures = append(failures, os.RemoveAll(h.files.path(name)))
		}
	}
	if err = errors.Join(err, errors.Join(failures...)); err == nil {
		err = os.RemoveAll(h.files.dir)
	}
	return hostError(err, "remove the cluster's directory")
}

// DeleteAll deletes all clusters, and what drivers still have of clusters without a directory. One that cannot be deleted
// keeps no other from it.
func (m *Manager) DeleteAll(ctx context.Context) (deleted []string, err error) {
	names, err := m.Names()
	if err != nil {
		return nil, err
	}
	lost, err := m.lostNames(ctx)
	failures := []error{err}
	for _, name := range append(names, lost...) {
		if _, err := m.Delete(ctx, name); err != nil {
			failures = append(failures, err)
			continue
		}
		deleted = append(deleted, name)
	}
	return deleted, errors.Join(failures...)
}

// Purge removes all that dory keeps on this computer but clusters, of which there must be none: configuration, cache,
// artifacts. A shared cache, which other homes use, stays.
func (m *Manager) Purge() error {
	names, err := m.Names()
	if err != nil {
		return err
	}
	if len(names) > 0 {
		return fail.New(fail.Usage, "--purge with clusters left: %v", names).WithAdvice("use 'dory delete --all --purge'")
	}
	return hostError(m.purge(), "remove dory's files")
}

// purge removes what dory has made below its directories, and those that are empty then. DORY_HOME may be a directory that others
// have things in: ~/.local is one.
func (m *Manager) purge() error {
	made := map[string][]string{
		m.Dirs.Config: {"config.yaml", ".config.yaml.*.tmp"},
		m.Dirs.State:  {clustersDir},
		m.Dirs.Cache: {"artifacts/node-*.iso", "artifacts/node-*.iso.*", "artifacts/bundle-*.img", "artifacts/bundle-*.img.*", "artifacts/.bundle-work-*",
			templatesDir, "kubectl", qemu.Name, libvirt.Name},
	}
	var failures []error
	for dir, patterns := range made {
		for _, pattern := range patterns {
			found, err := filepath.Glob(filepath.Join(dir, filepath.FromSlash(pattern)))
			failures = append(failures, err)
			for _, path := range found {
				failures = append(failures, os.RemoveAll(path))
			}
		}
		os.Remove(filepath.Join(dir, "artifacts")) // if nothing else is in them
		os.Remove(dir)
	}
	return errors.Join(failures...)
}
