package cluster

import (
	"context"
	"fmt"
	"time"

	"github.com/dorykube/dory/drivers"
	"github.com/dorykube/dory/internal/fail"
	"github.com/dorykube/dory/internal/progress"
	"github.com/dorykube/dory/provision"
	"github.com/dorykube/dory/provision/pki"
)

// An upgrade gives the machine another bundle, for which it boots anew, and provisions the node again. On its first boot
// with another Kubernetes the node keeps a copy of etcd's data (provision/data.go); what comes of that:
//
//	            begun                      ready
//	(version) --------> Record.Upgrading --------> (new version), the copy is removed
//	    ^                  |       ^  |
//	    | rolled back:     |       +--+ interrupted: the next start goes on
//	    | the copy is back v
//	    +------------ not ready in time, or broken

// beginUpgrade writes down that the cluster is between two versions, and takes the machine down, unless it runs with the new
// one already. It returns whether it still runs.
func (s *start) beginUpgrade(ctx context.Context, running bool) (bool, error) {
	s.record.Upgrading = s.plan.Spec.KubernetesVersion
	if err := s.saveMachine(); err != nil || running && s.record.Machine.Bundle == s.from.bundle {
		return running, err
	}
	if running {
		if err := s.powerOff(ctx, s.status); err != nil {
			return running, err
		}
	}
	s.status, s.ran = drivers.Status{State: drivers.Stopped}, false
	return false, nil
}

// endUpgrade removes what would have been needed to go back. That the upgrade has ended, the record says when it also has the
// new version.
func (s *start) endUpgrade(ctx context.Context, node Node) error {
	if s.record.Upgrading == "" {
		return nil
	}
	return provision.DropData(ctx, node)
}

// rollBack puts the previous version of Kubernetes back, with the data that it had, after an upgrade to another did not
// succeed. It returns the failure, which says so.
func (s *start) rollBack(ctx context.Context, why error) error {
	if s.record.Upgrading == "" || ctx.Err() != nil {
		return why
	}
	err := progress.Do(ctx, rollBackStep, func(ctx context.Context) (string, error) {
		quiet := progress.With(ctx, progress.From(context.Background()))
		return s.before.Spec.KubernetesVersion, s.bootPrevious(quiet)
	})
	if err != nil {
		return joinFailures(why, fmt.Errorf("and Kubernetes %s could not be put back: %w", s.before.Spec.KubernetesVersion, err))
	}
	failure := *fail.As(why)
	failure.Message = fmt.Sprintf("the upgrade to Kubernetes %s did not succeed, and %s is back: %s",
		s.plan.Spec.KubernetesVersion, s.before.Spec.KubernetesVersion, failure.Message)
	return &failure
}

func (s *start) bootPrevious(ctx context.Context) error {
	from, err := s.parts.artifacts(ctx, s.Dirs, s.before.Spec.KubernetesVersion)
	if err != nil {
		return err
	}
	node, _, err := s.boot(ctx) // which only logs in if the machine runs
	if err != nil {
		return err
	}
	err = provision.RestoreData(ctx, node)
	node.Close()
	if err != nil {
		return err
	}
	if err := s.powerOff(ctx, s.status); err != nil {
		return err
	}
	s.status, s.ran, s.changed = drivers.Status{State: drivers.Stopped}, false, false
	s.record.Machine.Image, s.record.Machine.Bundle = from.image, from.bundle
	s.record.Spec, s.record.Settings = s.before.Spec, s.before.Settings
	if err := s.driver.Create(ctx, s.record.Machine); err != nil {
		return err
	}
	node, authority, err := s.boot(ctx)
	if err != nil {
		return err
	}
	defer node.Close()
	if err := s.provisionPrevious(ctx, node, authority); err != nil {
		return err
	}
	if err := s.endUpgrade(ctx, node); err != nil {
		return err
	}
	s.record.Upgrading = ""
	return s.saveMachine()
}

// provisionPrevious makes the node what it was before this start.
func (s *start) provisionPrevious(ctx context.Context, node Node, authority *pki.Authority) error {
	target := provision.Target{Runner: node, API: s.apiAddress()}
	return s.parts.provision(ctx, target, s.before.Settings, authority, nil, time.Duration(s.options.WaitTimeout))
}
