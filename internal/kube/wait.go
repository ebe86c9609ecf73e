package kube

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
)

var (
	pods            = schema.GroupVersionResource{Version: "v1", Resource: "pods"}
	nodes           = schema.GroupVersionResource{Version: "v1", Resource: "nodes"}
	serviceAccounts = schema.GroupVersionResource{Version: "v1", Resource: "serviceaccounts"}
	deployments     = schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}
)

// systemNamespaces hold what dory itself runs in a cluster.
var systemNamespaces = []string{"kube-system", "local-path-storage"}

// condition is something to wait for: a list that is watched, and a look at it that says what is missing.
type condition struct {
	resource  schema.GroupVersionResource
	namespace string
	missing   func(map[string]*unstructured.Unstructured) string // "" when the condition holds
}

// nodeReady is the condition that all nodes are Ready, of which there must be one.
const nodeReady = "node_ready"

// conditions are what can be waited for. The API server is waited for in any case.
var conditions = map[string]condition{
	"apiserver":   {},
	nodeReady:     {resource: nodes, missing: nodesNotReady},
	"default_sa":  {resource: serviceAccounts, namespace: metav1.NamespaceDefault, missing: noDefaultAccount},
	"system_pods": {resource: deployments, missing: systemNotAvailable},
}

// aliases are minikube's other names, which mean the same here: system pods count when they are Ready, not when they run.
var aliases = map[string]string{"kubelet": "node_ready", "apps_running": "system_pods", "extra": "system_pods"}

// ParseWait reads a value of --wait: a comma-separated list, or all, none, true (the default) or false.
func ParseWait(text string) ([]string, error) {
	switch text {
	case "all":
		return slices.Sorted(maps.Keys(conditions)), nil
	case "none", "false":
		return nil, nil
	case "true", "":
		return []string{"apiserver", "system_pods"}, nil
	}
	var names []string
	for name := range strings.SplitSeq(text, ",") {
		name = strings.TrimSpace(name)
		if other, ok := aliases[name]; ok {
			name = other
		}
		if _, ok := conditions[name]; !ok {
			return nil, fmt.Errorf("%q is nothing to wait for; there are apiserver, system_pods, default_sa, apps_running, node_ready, kubelet, extra, all, none", name)
		}
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names, nil
}

// Wait returns when all the named conditions hold, and nodes are Ready: without, a cluster is not, whatever else is. If ctx ends before, the error has what was missing last.
func (c *Cluster) Wait(ctx context.Context, names []string) error {
	if len(names) == 0 {
		return nil
	}
	if err := c.WaitReady(ctx); err != nil {
		return err
	}
	if !slices.Contains(names, nodeReady) {
		names = append(slices.Clone(names), nodeReady)
	}
	return c.Holds(ctx, names)
}

// Holds is Wait on an API server that is ready.
func (c *Cluster) Holds(ctx context.Context, names []string) error {
	var group errgroup.Group
	for _, name := range names {
		if cond := conditions[name]; cond.missing != nil {
			group.Go(func() error { return c.until(ctx, name, cond) })
		}
	}
	return group.Wait()
}

// Pulse is a text that changes when something of the nodes, the deployments or the pods of the cluster does; empty where the API server
// does not tell.
func (c *Cluster) Pulse(ctx context.Context) string {
	var pulse strings.Builder
	for _, resource := range []schema.GroupVersionResource{nodes, deployments, pods} {
		list, err := c.dynamic.Resource(resource).List(ctx, metav1.ListOptions{})
		if err != nil {
			return ""
		}
		for _, object := range list.Items {
			if resource == nodes { // a kubelet that lives changes its node each minute, whatever else it gets done
				status, reason := statusCondition(&object, "Ready")
				fmt.Fprintln(&pulse, status, reason)
				continue
			}
			fmt.Fprintln(&pulse, object.GetUID(), object.GetResourceVersion())
		}
	}
	return pulse.String()
}

// HasNode reports whether there is a node of that name.
func (c *Cluster) HasNode(ctx context.Context, name string) (bool, error) {
	_, err := c.dynamic.Resource(nodes).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	return err == nil, err
}

// WaitNode returns when a node of that name has registered, and its kubelet reports.
func (c *Cluster) WaitNode(ctx context.Context, name string) error {
	return c.until(ctx, "node "+name, condition{resource: nodes, missing: func(objects map[string]*unstructured.Unstructured) string {
		node, ok := objects["/"+name]
		if !ok {
			return "no node of that name has registered"
		}
		if ready, _ := statusCondition(node, "Ready"); ready == "Unknown" {
			return "its kubelet has stopped reporting"
		}
		return ""
	}})
}

// until lists and watches until the condition holds, and lists again when the watch ends.
func (c *Cluster) until(ctx context.Context, name string, cond condition) error {
	last := "nothing was heard from the API server"
	for {
		missing, err := c.watchOnce(ctx, cond)
		switch {
		case missing == "" && err == nil:
			return nil
		case missing != "":
			last = missing
		case ctx.Err() == nil:
			last = err.Error()
		}
		if ctx.Err() != nil {
			return fmt.Errorf("wait for %s: %w", name, errors.Join(ctx.Err(), errors.New(last)))
		}
		if err := c.WaitReady(ctx); err != nil {
			return fmt.Errorf("wait for %s: %w", name, err)
		}
	}
}

// watchOnce lists, then watches, until the condition holds or the watch ends; missing is what lacked last.
func (c *Cluster) watchOnce(ctx context.Context, cond condition) (missing string, err error) {
	resource := c.dynamic.Resource(cond.resource).Namespace(cond.namespace)
	list, err := resource.List(ctx, metav1.ListOptions{})
	if err != nil {
		return "", err
	}
	objects := map[string]*unstructured.Unstructured{}
	for _, object := range list.Items {
		objects[object.GetNamespace()+"/"+object.GetName()] = &object
	}
	if missing = cond.missing(objects); missing == "" {
		return "", nil
	}
	events, err := resource.Watch(ctx, metav1.ListOptions{ResourceVersion: list.GetResourceVersion()})
	if err != nil {
		return missing, err
	}
	defer events.Stop()
	for event := range events.ResultChan() {
		object, ok := event.Object.(*unstructured.Unstructured)
		if !ok || event.Type == watch.Error {
			return missing, nil
		}
		key := object.GetNamespace() + "/" + object.GetName()
		if event.Type == watch.Deleted {
			delete(objects, key)
		} else {
			objects[key] = object
		}
		if missing = cond.missing(objects); missing == "" {
			return "", nil
		}
	}
	return missing, nil
}

func nodesNotReady(objects map[string]*unstructured.Unstructured) string {
	if len(objects) == 0 {
		return "no node has registered"
	}
	for _, node := range objects {
		if status, reason := statusCondition(node, "Ready"); status != "True" {
			return fmt.Sprintf("node %s is not Ready: %s", node.GetName(), reason)
		}
	}
	return ""
}

func noDefaultAccount(objects map[string]*unstructured.Unstructured) string {
	if _, ok := objects["default/default"]; !ok {
		return "the service account default/default does not exist"
	}
	return ""
}

func systemNotAvailable(objects map[string]*unstructured.Unstructured) string {
	seen := false
	for _, deployment := range objects {
		if !slices.Contains(systemNamespaces, deployment.GetNamespace()) {
			continue
		}
		seen = true
		name := deployment.GetNamespace() + "/" + deployment.GetName()
		observed, _, _ := unstructured.NestedInt64(deployment.Object, "status", "observedGeneration")
		if observed < deployment.GetGeneration() {
			return name + " has not been looked at by its controller"
		}
		// Not the condition Available: that holds without any pod where one may be missing, as of CoreDNS' one.
		wanted, _, _ := unstructured.NestedInt64(deployment.Object, "spec", "replicas")
		if available, _, _ := unstructured.NestedInt64(deployment.Object, "status", "availableReplicas"); available < wanted {
			_, reason := statusCondition(deployment, "Available")
			return fmt.Sprintf("%s has %d of %d pods available: %s", name, available, wanted, reason)
		}
	}
	if !seen {
		return "nothing is deployed in " + strings.Join(systemNamespaces, ", ")
	}
	return ""
}

// statusCondition returns one of an object's status conditions, and the words it gives as the reason.
func statusCondition(object *unstructured.Unstructured, kind string) (status, reason string) {
	list, _, _ := unstructured.NestedSlice(object.Object, "status", "conditions")
	for _, entry := range list {
		if fields, ok := entry.(map[string]any); ok && fields["type"] == kind {
			status, _ = fields["status"].(string)
			reason, _ = fields["message"].(string)
			return status, reason
		}
	}
	return "Unknown", "it has no condition " + kind + " yet"
}
