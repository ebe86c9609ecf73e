package kube

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/dynamic"
)

// applyAtOnce is how many objects are on their way at the same time.
const applyAtOnce = 8

// applyTries is how often an object is sent to an API server that gives up on it itself, which it does after half a minute: on
// a computer with other work, one that has just started may need longer.
const applyTries = 6

// Apply makes the API server hold the objects of a YAML stream, by server-side apply. Namespaces go first; the rest goes
// at once, since Kubernetes' objects may name each other before they exist.
func (c *Cluster) Apply(ctx context.Context, manifest []byte) error {
	objects, err := decode(manifest)
	if err != nil {
		return err
	}
	for _, object := range objects {
		if object.GetKind() == "Namespace" {
			if err := c.applyOne(ctx, object); err != nil {
				return err
			}
		}
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(applyAtOnce)
	for _, object := range objects {
		switch object.GetKind() {
		case "Namespace":
		case "Service":
			group.Go(func() error { return c.applyService(ctx, object) })
		default:
			group.Go(func() error { return c.applyOne(ctx, object) })
		}
	}
	return group.Wait()
}

func decode(manifest []byte) ([]*unstructured.Unstructured, error) {
	decoder := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(manifest), 4096)
	var objects []*unstructured.Unstructured
	for {
		object := &unstructured.Unstructured{}
		err := decoder.Decode(object)
		if errors.Is(err, io.EOF) {
			return objects, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read a manifest: %w", err)
		}
		if len(object.Object) > 0 {
			objects = append(objects, object)
		}
	}
}

func (c *Cluster) applyOne(ctx context.Context, object *unstructured.Unstructured) error {
	// The plural is guessed by upstream's own rule, which holds for every kind that dory applies: no discovery needed.
	resource, _ := meta.UnsafeGuessKindToResource(object.GroupVersionKind())
	var client dynamic.ResourceInterface = c.dynamic.Resource(resource)
	if namespace := object.GetNamespace(); namespace != "" {
		client = c.dynamic.Resource(resource).Namespace(namespace)
	}
	var err error
	for range applyTries { // to apply it twice is to apply it once
		_, err = client.Apply(ctx, object.GetName(), object, metav1.ApplyOptions{FieldManager: "dory", Force: true})
		if !apierrors.IsTimeout(err) && !apierrors.IsServerTimeout(err) || ctx.Err() != nil {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("apply %s %s: %w", object.GetKind(), object.GetName(), err)
	}
	return nil
}
