package kube

import (
	"context"
	"fmt"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

var (
	services    = schema.GroupVersionResource{Version: "v1", Resource: "services"}
	ipAddresses = schema.GroupVersionResource{Group: "networking.k8s.io", Version: "v1", Resource: "ipaddresses"}
)

// addressTries is how often an address is taken back before the API server's refusal stands: a request that was cut off may
// still be at work in it.
const addressTries = 5

// applyService applies a Service that names its own address. The API server notes the address, as an IPAddress, before it
// writes the Service; cut off between the two, it keeps an address that belongs to no Service, and refuses that address even
// to the Service that it was meant for until its own repair, minutes later. Here it is given back at once.
func (c *Cluster) applyService(ctx context.Context, object *unstructured.Unstructured) error {
	address, _, _ := unstructured.NestedString(object.Object, "spec", "clusterIP")
	for try := 1; ; try++ {
		err := c.applyOne(ctx, object)
		if address == "" || try == addressTries || !addressRefused(err) {
			return err
		}
		if err := c.giveBack(ctx, address, object); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Duration(try) * shortestPause):
		}
	}
}

func addressRefused(err error) bool {
	return apierrors.IsInvalid(err) && strings.Contains(err.Error(), "already allocated")
}

// giveBack deletes the IPAddress that was made for the service, if there is no such Service.
func (c *Cluster) giveBack(ctx context.Context, address string, service *unstructured.Unstructured) error {
	_, err := c.dynamic.Resource(services).Namespace(service.GetNamespace()).Get(ctx, service.GetName(), metav1.GetOptions{})
	if !apierrors.IsNotFound(err) {
		return err
	}
	noted, err := c.dynamic.Resource(ipAddresses).Get(ctx, address, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	parent, _, _ := unstructured.NestedStringMap(noted.Object, "spec", "parentRef")
	if parent["resource"] != services.Resource || parent["namespace"] != service.GetNamespace() || parent["name"] != service.GetName() {
		return fmt.Errorf("the address %s of Service %s belongs to %s %s/%s",
			address, service.GetName(), parent["resource"], parent["namespace"], parent["name"])
	}
	uid := noted.GetUID()
	err = c.dynamic.Resource(ipAddresses).Delete(ctx, address, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &uid}})
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) { // somebody else was at it
		return nil
	}
	return err
}
