# The only entry point. `make cluster` and `make test` do all they need on a fresh Debian or Ubuntu machine.

KUBERNETES_VERSION ?= v1.37.2
# The Go toolchain of everything below: go.mod names it.
export GOTOOLCHAIN := $(shell bundle/toolchain.sh)
ARCH               ?= $(shell go env GOARCH)
CACHE              := $(if $(DORY_HOME),$(DORY_HOME)/cache,$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/dory)
ARTIFACTS          := $(CACHE)/artifacts
IMAGE              := $(ARTIFACTS)/node-$(ARCH).iso
BUNDLE             := $(ARTIFACTS)/bundle-$(KUBERNETES_VERSION)-$(ARCH).img
PREVIOUS           := $(ARTIFACTS)/bundle-v1.36.3-$(ARCH).img

VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
GO      := CGO_ENABLED=0 go
# Real VMs under emulation on a loaded machine: generous, and one limit for all of them.
VM_TEST_TIMEOUT ?= $(if $(SHORT),80m,6h)
# What 'make test' leaves to 'make test-all', so that with built artifacts it ends within an hour on a slow machine too.
SHORT ?= -short
# The figures that are published; another file keeps them.
BENCH_JSON ?= docs/bench.json

.PHONY: help
help: ## list these targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

.PHONY: build
build: ## bin/dory
	$(GO) build -trimpath -ldflags "-s -w -X github.com/dorykube/dory/cmd.Version=$(VERSION)" -o bin/dory .

.PHONY: packages
packages: ## install the Debian packages that are needed and not there
	@test/packages.sh

.PHONY: artifacts
artifacts: packages ## node image and bundle, in the cache; only what changed is built
	mkdir -p $(ARTIFACTS)
	iso/build.sh $(IMAGE) $(ARCH)
	KUBERNETES_VERSION=$(KUBERNETES_VERSION) ARCH=$(ARCH) bundle/build.sh $(BUNDLE)

.PHONY: cluster
cluster: build artifacts ## everything that is needed, then a running cluster
	bin/dory start --kubernetes-version $(KUBERNETES_VERSION)
	bin/dory kubectl -- get nodes,pods -A

.PHONY: test
test: lint test-unit test-cross vuln test-vm ## lint, unit tests, cross-builds, known vulnerabilities, tests on real VMs

.PHONY: test-all
test-all: lint test-unit test-cross artifacts previous ## the same with every test on real VMs, which takes hours on a slow machine
	go run ./test/vuln $(BUNDLE) $(PREVIOUS)
	$(MAKE) test-vm SHORT=

.PHONY: lint
lint: ## formatting, vet, staticcheck
	@unformatted=$$(gofmt -l $$(git ls-files '*.go')); test -z "$$unformatted" || { echo "not gofmt'ed: $$unformatted"; exit 1; }
	go vet ./...
	go vet -tags vm ./...
	go tool staticcheck -tags vm ./...

.PHONY: test-unit
test-unit: packages ## unit tests, with the race detector
	CGO_ENABLED=1 go test -race ./...
	cd bundle/components/containerd && go test ./root
	cd bundle/components/kubernetes && GOWORK=off $(GO) test -trimpath ./signer

.PHONY: test-cross
test-cross: ## build and vet for the other platforms
	@set -e; for p in darwin/arm64 darwin/amd64 windows/amd64 windows/arm64 linux/arm64; do \
	    echo "build and vet for $$p"; \
	    GOOS=$${p%/*} GOARCH=$${p#*/} $(GO) build -o /dev/null . ; \
	    GOOS=$${p%/*} GOARCH=$${p#*/} $(GO) vet ./... ; \
	done

.PHONY: vuln
vuln: artifacts ## known vulnerabilities in dory and in the bundle's programs
	go run ./test/vuln $(BUNDLE)

.PHONY: previous
previous: packages # the bundle that a test upgrades from
	mkdir -p $(ARTIFACTS)
	KUBERNETES_VERSION=v1.36.3 ARCH=$(ARCH) bundle/build.sh $(PREVIOUS)

.PHONY: test-vm
test-vm: build artifacts ## tests on real VMs
	go test -tags vm $(SHORT) -count=1 -p 1 -timeout $(VM_TEST_TIMEOUT) ./iso ./drivers/... ./test/...

.PHONY: test-qemu
test-qemu: build artifacts ## machines and clusters with each QEMU and libvirt of docs/platforms.md, out of its Debian, and upgrades between them; an hour or two
	go test -tags vm -count=1 -p 1 -timeout $(VM_TEST_TIMEOUT) -v -run '^TestVersions$$' ./drivers/qemu ./drivers/libvirt ./test

.PHONY: conformance
conformance: build artifacts ## upstream's conformance tests, two at a time, into docs/conformance.md; hours, and goes on where it was stopped
	DORY_CONFORMANCE=$(CURDIR)/docs/conformance.json go test -tags vm -count=1 -timeout 24h -parallel 2 -v -run '^TestConformance$$' ./test

.PHONY: torture
torture: build artifacts ## hundreds of things that go wrong, on real VMs, and what dory makes of each; hours. TORTURE=PATTERN for some
	DORY_TORTURE='$(or $(TORTURE),all)' go test -tags vm -count=1 -timeout 8h -v -run 'TestTorture|TestRandomVerbs|TestForkCycles' ./test

.PHONY: bench
bench: build artifacts ## time everything a user waits for, on real VMs, beside kubeadm on the same VM; BENCH="-runs 3 fork cold" for a part
	go run ./bench -json $(BENCH_JSON) $(BENCH)

.PHONY: bench-docs
bench-docs: ## docs/benchmarks.md, its plots and README's table, from the figures that 'make bench' took
	go run ./bench -docs $(BENCH_JSON)

.PHONY: clean
clean: ## remove what was built here; the cache stays
	rm -rf bin
