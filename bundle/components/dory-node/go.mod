module github.com/dorykube/dory/bundle/components/dory-node

go 1.26.0

toolchain go1.26.11
