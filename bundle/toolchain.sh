#!/bin/sh
# Prints the Go toolchain to build with, as a value of GOTOOLCHAIN: the one that go.mod names, or a newer one that is
# installed. Go's container images and some distributions say GOTOOLCHAIN=local, which ignores go.mod's line; a toolchain
# that somebody asked for by name is left alone.
set -eu
case ${GOTOOLCHAIN:-local} in
local | auto | path) ;;
*)
    echo "$GOTOOLCHAIN"
    exit
    ;;
esac
cd "$(dirname "$0")/.."
if ! found=$(GOTOOLCHAIN=auto go env GOVERSION 2>/dev/null); then
    found=$(GOTOOLCHAIN=local go env GOVERSION)
    echo "go.mod's $(sed -n 's/^toolchain //p' go.mod) cannot be fetched: building with ${found%% *}" >&2
fi
case $found in
go1.*) echo "${found%% *}" ;; # by name, so that every module is built with it, and the line above is printed once
*) echo local ;;              # one that was built from source
esac
