package main

import (
	"bytes"
	"context"
	"os"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	clientset "k8s.io/client-go/kubernetes"
	restclient "k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/util/keyutil"
	"k8s.io/controller-manager/pkg/clientbuilder"
	"k8s.io/klog/v2"
	"k8s.io/kubernetes/pkg/controller/certificates/rootcacertpublisher"
	serviceaccountcontroller "k8s.io/kubernetes/pkg/controller/serviceaccount"
	"k8s.io/kubernetes/pkg/serviceaccount"
)

// What kube-controller-manager reads once, although a forked cluster gets its own: the authority that every pod is told to
// trust, and the key of long-lived tokens. Its own two controllers for these are switched off in its unit; upstream's same
// controllers run here instead, and again from the beginning whenever one of the files changes.

// lookEvery is how soon a changed file is noticed.
const lookEvery = time.Second

// authorities are the files, and the way to the API server.
type authorities struct{ rootCA, accountKey, kubeconfig string }

// keep runs the controllers for as long as the process lives.
func (a authorities) keep() {
	for {
		before := a.read()
		ctx, cancel := context.WithCancel(context.Background())
		if err := a.run(ctx); err != nil {
			klog.InfoS("Cannot publish the cluster's authority yet", "err", err) // the API server is away, for instance
			time.Sleep(lookEvery)
		} else {
			for bytes.Equal(a.read(), before) {
				time.Sleep(lookEvery)
			}
		}
		cancel()
		time.Sleep(lookEvery / 10) // the other files of a change follow at once
	}
}

// read is the files' content; one that is being replaced counts as it is.
func (a authorities) read() []byte {
	ca, _ := os.ReadFile(a.rootCA)
	key, _ := os.ReadFile(a.accountKey)
	return append(ca, key...)
}

// run starts the controllers, which end with ctx.
func (a authorities) run(ctx context.Context) error {
	rootCA, err := os.ReadFile(a.rootCA)
	if err != nil {
		return err
	}
	config, err := clientcmd.BuildConfigFromFlags("", a.kubeconfig)
	if err != nil {
		return err
	}
	client, err := clientset.NewForConfig(config)
	if err != nil {
		return err
	}
	// As upstream: this controller acts as its own service account, the next as the controller manager itself.
	builder := clientbuilder.NewDynamicClientBuilder(restclient.AnonymousClientConfig(config), client.CoreV1(), metav1.NamespaceSystem)
	own, err := builder.Client("root-ca-cert-publisher")
	if err != nil {
		return err
	}
	maps := informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithTweakListOptions(func(o *metav1.ListOptions) {
		o.FieldSelector = "metadata.name=" + rootcacertpublisher.RootCACertConfigMapName
	}))
	all := informers.NewSharedInformerFactory(client, 0)
	publisher, err := rootcacertpublisher.NewPublisher(maps.Core().V1().ConfigMaps(), all.Core().V1().Namespaces(), own, rootCA)
	if err != nil {
		return err
	}
	tokens, err := a.tokens(client, all, rootCA)
	if err != nil {
		return err
	}
	maps.Start(ctx.Done())
	all.Start(ctx.Done())
	go publisher.Run(ctx, 1)
	go tokens.Run(ctx, 1)
	return nil
}

// tokens makes the controller of long-lived tokens, which are Secrets of a type of their own.
func (a authorities) tokens(client clientset.Interface, all informers.SharedInformerFactory, rootCA []byte) (*serviceaccountcontroller.TokensController, error) {
	key, err := keyutil.PrivateKeyFromFile(a.accountKey)
	if err != nil {
		return nil, err
	}
	generator, err := serviceaccount.JWTTokenGenerator(serviceaccount.LegacyIssuer, key)
	if err != nil {
		return nil, err
	}
	return serviceaccountcontroller.NewTokensController(klog.Background(), all.Core().V1().ServiceAccounts(), all.Core().V1().Secrets(), client,
		serviceaccountcontroller.TokensControllerOptions{TokenGenerator: generator, RootCA: rootCA})
}
