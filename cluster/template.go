package cluster

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/dorykube/dory/internal/fail"
	"github.com/dorykube/dory/internal/size"
)

// The files of templates, below home.Dirs.Cache. A template is made as a cluster of its own whose directory becomes the
// template's when it is whole.
//
//	templates/KEY.lock      held by the dory process that makes or removes it
//	templates/KEY.making/   a cluster's directory (files.go), while it is being made
//	templates/KEY.deleting/ what is being removed
//	templates/KEY/
//	    template.json       what it was made from; its time of change is when it was last used
//	    cluster.json        the record of the node that was frozen
//	    frozen/             the driver's
const (
	templatesDir = "templates"
	makingSuffix = ".making"
	goingSuffix  = ".deleting"
	templateFile = "template.json"
	frozenDir    = "frozen"
)

// TemplatesLimit is how much space templates may take before the one that was not used for longest goes: about eight of
// the default size.
const TemplatesLimit = 10 * size.GiB

// TemplateInputs is everything that shapes a frozen machine. Two configurations with equal inputs can be forked from one
// template.
type TemplateInputs struct {
	Image       string `json:"image"`       // digest of the node image
	Bundle      string `json:"bundle"`      // digest of the bundle
	Fingerprint string `json:"fingerprint"` // of the driver: hypervisor, machine type, accelerator, CPU, devices
	Provisioned string `json:"provisioned"` // settings and files of provisioning: see provisionKey
	Format      int    `json:"format"`      // raised when templates are made differently
}

// templateFormat is the number of the way in which templates are made.
const templateFormat = 2 // since forks are renewed over their line

// TemplateKey names a template: the same inputs give the same key, and any other input another one.
func TemplateKey(inputs TemplateInputs) string {
	text, err := json.Marshal(inputs)
	if err != nil {
		panic(err) // strings and a number always marshal
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])[:32]
}

// Template is a frozen node.
type Template struct {
	Key        string         `json:"Key"`
	Kubernetes string         `json:"KubernetesVersion"`
	Driver     string         `json:"Driver"`
	Spec       Spec           `json:"Spec"`
	Inputs     TemplateInputs `json:"Inputs"`
	Created    time.Time      `json:"Created"`
	Used       time.Time      `json:"LastUsed"`
	Size       size.Size      `json:"Size"`     // what it takes of the disk
	Clusters   []string       `json:"Clusters"` // that were forked from it and are there

	files files
}

func (m *Manager) templatePath(name string) string {
	return filepath.Join(m.Dirs.Cache, templatesDir, name)
}

// loadTemplate reads a template; fs.ErrNotExist if there is none.
func (m *Manager) loadTemplate(key string) (*Template, error) {
	t := &Template{files: files{m.templatePath(key)}}
	path := t.files.path(templateFile)
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(text, t); err != nil || t.Key != key {
		return nil, fail.New(fail.TemplateUnusable, "read %s: it does not describe the template %s", path, key)
	}
	if info, err := os.Stat(path); err == nil {
		t.Used = info.ModTime()
	}
	return t, nil
}

// touch notes that the template was used.
func (t *Template) touch() {
	now := time.Now()
	os.Chtimes(t.files.path(templateFile), now, now) // if that fails, the template looks older than it is
}

// Templates are all there are, the one that was used last first.
func (m *Manager) Templates() ([]*Template, error) {
	entries, err := os.ReadDir(m.templatePath(""))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, hostError(err, "list the templates")
	}
	users := m.templateUsers()
	templates := []*Template{}
	for _, entry := range entries {
		key := entry.Name()
		if !entry.IsDir() || strings.Contains(key, ".") {
			continue
		}
		t, err := m.loadTemplate(key)
		if err != nil { // it can still be removed
			t = &Template{Key: key, files: files{m.templatePath(key)}}
		}
		t.Size, t.Clusters = diskUsage(t.files.dir), users[key]
		templates = append(templates, t)
	}
	slices.SortFunc(templates, func(a, b *Template) int { return b.Used.Compare(a.Used) })
	return templates, nil
}

// templateUsers are the clusters of each template.
func (m *Manager) templateUsers() map[string][]string {
	users := map[string][]string{}
	names, _ := m.Names()
	for _, name := range names {
		if record, err := m.look(name); err == nil && record.Template != "" {
			users[record.Template] = append(users[record.Template], name)
		}
	}
	return users
}

// diskUsage is what a directory's files take of the disk; most of a template are holes.
func diskUsage(dir string) (sum size.Size) {
	filepath.WalkDir(dir, func(_ string, entry fs.DirEntry, err error) error {
		if err != nil {
			return nil
		}
		if info, err := entry.Info(); err == nil && info.Mode().IsRegular() {
			sum += size.Size(allocated(info))
		}
		return nil
	})
	return sum
}

// DeleteTemplate removes the template whose key begins with key. Clusters that were forked from it stay as they are.
func (m *Manager) DeleteTemplate(ctx context.Context, key string) (*Template, error) {
	templates, err := m.Templates()
	if err != nil {
		return nil, err
	}
	var found []*Template
	for _, t := range templates {
		if strings.HasPrefix(t.Key, key) {
			found = append(found, t)
		}
	}
	if len(found) != 1 || key == "" {
		return nil, fail.New(fail.NoTemplate, "%d templates have a key that begins with %q", len(found), key)
	}
	return found[0], m.removeTemplate(ctx, found[0].Key)
}

// PruneTemplates removes templates, those that were not used for longest first, until the rest takes no more than limit.
// Those that clusters were forked from stay.
func (m *Manager) PruneTemplates(ctx context.Context, limit size.Size) (removed []*Template, err error) {
	m.sweepTemplates(ctx)
	templates, err := m.Templates()
	if err != nil {
		return nil, err
	}
	var sum size.Size
	for _, t := range templates {
		sum += t.Size
	}
	for _, t := range slices.Backward(templates) {
		if sum <= limit {
			break
		}
		if len(t.Clusters) > 0 {
			continue
		}
		if err := m.removeTemplate(ctx, t.Key); err != nil {
			return removed, err
		}
		sum -= t.Size
		removed = append(removed, t)
	}
	return removed, nil
}

// removeTemplate first takes the name away, so that nobody begins to fork what is half gone.
func (m *Manager) removeTemplate(ctx context.Context, key string) error {
	l, err := acquire(ctx, m.templatePath(key)+lockSuffix, "template delete")
	if err != nil {
		return err
	}
	defer l.remove()
	doomed := m.templatePath(key) + goingSuffix
	os.RemoveAll(doomed)
	if err := os.Rename(m.templatePath(key), doomed); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return hostError(err, "remove the template "+key)
	}
	return hostError(os.RemoveAll(doomed), "remove the template "+key)
}

// sweepTemplates removes what makings and removals that were killed have left, machines and locks included. What somebody still
// works on, and what cannot be removed now, stays for the next time.
func (m *Manager) sweepTemplates(ctx context.Context) {
	entries, _ := os.ReadDir(m.templatePath(""))
	for _, entry := range entries {
		key, suffix, found := strings.Cut(entry.Name(), ".")
		if !found || key == "" {
			continue
		}
		l, err := acquireWithin(ctx, m.templatePath(key)+lockSuffix, "template sweep", 0)
		if err != nil {
			continue
		}
		if suffix := "." + suffix; suffix == makingSuffix || suffix == goingSuffix {
			m.sweep(ctx, m.templatePath(entry.Name()))
		}
		l.remove()
	}
}

func (m *Manager) sweep(ctx context.Context, dir string) error {
	left := &held{Manager: m, name: NodeName, files: files{dir}, log: m.logger(nil), logTo: &lateFile{}}
	if err := left.removeMachine(ctx); err != nil {
		return err
	}
	return left.removeFiles()
}
