package cluster

import (
	"fmt"
	"slices"
	"strings"

	"github.com/dorykube/dory/drivers/registry"
	"github.com/dorykube/dory/internal/fail"
	"github.com/dorykube/dory/internal/size"
)

// Plan is what a start would do.
type Plan struct {
	Cluster string
	Action  Action
	Spec    Spec   // what the cluster will be
	Diffs   []Diff // what is wished to be different from what the cluster is
	Sources map[string]Source
}

// Action is what becomes of a cluster.
type Action string

const (
	Create   Action = "create"  // there is none
	Recreate Action = "recover" // the last start did not end, and something else is wished now: begin anew
	Resume   Action = "go on"   // the last start did not end
	Keep     Action = "keep"    // it is as wished; its machine is started unless it runs
	Alter    Action = "change"  // it exists and gets what can be changed
)

// Diff is a setting that is wished to be different.
type Diff struct {
	Setting  Setting
	From, To string
	Source   Source
}

// plan works out what a start has to do, and refuses what cannot be done, before anything is touched. record is nil if
// there is no cluster.
func (m *Manager) plan(name string, record *Record, wanted Wanted) (Plan, error) {
	p := Plan{Cluster: name, Action: Create, Sources: wanted.Sources}
	if record == nil || record.Phase == Deleting {
		err := wanted.Validate(m.Host)
		p.Spec = wanted.Spec
		return p, err
	}
	have := record.Spec
	if record.Upgrading != "" { // it goes on
		have.KubernetesVersion = record.Upgrading
	}
	merged, err := m.merge(have, wanted)
	if err != nil {
		return p, err
	}
	p.Spec, p.Diffs = merged.Spec, diff(have, merged)
	switch {
	case record.Phase == Making && (hasChange(p.Diffs, Upgrade) || slices.ContainsFunc(p.Diffs, Diff.fixed)):
		p.Action = Recreate
	case record.Phase == Making:
		p.Action = Resume
	case len(p.Diffs) == 0 && record.Upgrading == "":
		p.Action = Keep
	default:
		p.Action = Alter
		return p, refuseFixed(record, p.Diffs)
	}
	return p, nil
}

// merge puts the wishes over what the cluster is. A user's defaults are for new clusters and are no wish.
func (m *Manager) merge(have Spec, wanted Wanted) (Wanted, error) {
	merged := Wanted{Spec: have, Options: wanted.Options, Sources: wanted.Sources}
	wished := false
	for _, s := range Settings {
		if s.Change == PerRun || wanted.Sources[s.Key].Kind <= FromUserConfig {
			continue
		}
		wished = true
		s.copy(&merged, &wanted)
	}
	if merged.Spec.Driver == registry.Auto {
		merged.Spec.Driver = have.Driver
	}
	// Addons are switched on, never off, by naming them.
	merged.Spec.Addons = union(have.Addons, merged.Spec.Addons)
	if !wished {
		return merged, merged.checkOptions()
	}
	return merged, merged.Validate(m.Host)
}

func (s Setting) copy(to, from *Wanted) {
	switch target := s.field(to).(type) {
	case *[]string:
		*target = slices.Clone(*s.field(from).(*[]string))
	default:
		// Everything else reads what it prints.
		if err := s.parse(to, []string{s.Get(*from)}); err != nil {
			panic(err)
		}
	}
}

func union(a, b []string) []string {
	all := slices.Clone(a)
	for _, v := range b {
		if !slices.Contains(all, v) {
			all = append(all, v)
		}
	}
	return all
}

func diff(have Spec, merged Wanted) (diffs []Diff) {
	was := Wanted{Spec: have}
	for _, s := range Settings {
		if s.Change == PerRun {
			continue
		}
		if from, to := s.Get(was), s.Get(merged); from != to {
			diffs = append(diffs, Diff{s, from, to, merged.Sources[s.Key]})
		}
	}
	return diffs
}

func hasChange(diffs []Diff, c Change) bool {
	return slices.ContainsFunc(diffs, func(d Diff) bool { return d.Setting.Change == c })
}

// fixed reports whether a cluster that exists cannot get what is wished.
func (d Diff) fixed() bool {
	switch d.Setting.Change {
	case Never:
		return true
	case Grow:
		from, err := size.Parse(d.From)
		to, bad := size.Parse(d.To)
		return err != nil || bad != nil || to < from
	case Upgrade:
		return number(d.To) < number(d.From)
	}
	return false
}

func refuseFixed(record *Record, diffs []Diff) error {
	var lines []string
	for _, d := range diffs {
		if d.fixed() {
			lines = append(lines, d.String())
		}
	}
	if lines == nil {
		return nil
	}
	return fail.New(fail.SpecConflict, "cluster %q exists, and this of it cannot be changed: %s", record.Name, strings.Join(lines, "; "))
}

// when says when a change takes place.
var when = map[Change]string{
	AtBoot:    "when the machine boots next",
	Grow:      "and the file system with it",
	Upgrade:   "for which the machine boots anew",
	Provision: "now, on the node",
}

// Plan is the change as a line of a plan.
func (d Diff) Plan() string {
	line := fmt.Sprintf("--%s: %s becomes %s", d.Setting.Key, orNone(d.From), orNone(d.To))
	if when := when[d.Setting.Change]; when != "" {
		line += ", " + when
	}
	return line
}

func (d Diff) String() string {
	return fmt.Sprintf("--%s is %s, not %s", d.Setting.Key, orNone(d.From), orNone(d.To))
}

func orNone(text string) string {
	if text == "" {
		return "empty"
	}
	return text
}

// Plan is what a start would do. It touches nothing.
func (m *Manager) Plan(name string, wanted Wanted) (Plan, error) {
	if err := CheckName(name); err != nil {
		return Plan{}, err
	}
	if err := wanted.checkOptions(); err != nil {
		return Plan{}, err
	}
	record, err := m.files(name).load(name)
	if err != nil && !fail.Is(err, fail.NoCluster) {
		return Plan{}, err
	}
	if wanted.Spec.Driver != registry.Auto {
		if _, err := m.parts.driver(wanted.Spec.Driver); err != nil {
			return Plan{}, err
		}
	}
	return m.plan(name, record, wanted)
}
