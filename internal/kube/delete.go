package kube

import (
	"context"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

var (
	configMaps = schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}
	allEvents  = schema.GroupVersionResource{Version: "v1", Resource: "events"}
	namespaces = schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}
)

// DeleteConfigMap removes a ConfigMap. An absent one is success.
func (c *Cluster) DeleteConfigMap(ctx context.Context, namespace, name string) error {
	err := c.dynamic.Resource(configMaps).Namespace(namespace).Delete(ctx, name, metav1.DeleteOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

// DeleteEvents removes all events of all namespaces.
func (c *Cluster) DeleteEvents(ctx context.Context) error {
	list, err := c.dynamic.Resource(namespaces).List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	for _, namespace := range list.Items {
		in := c.dynamic.Resource(allEvents).Namespace(namespace.GetName())
		if err := in.DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{}); err != nil {
			return err
		}
	}
	return nil
}
