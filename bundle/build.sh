#!/bin/sh
# build.sh OUT.img: makes the bundle, if anything it is made from has changed. Variables: see README.md.
set -eu
out=$(realpath -m "${1:?usage: build.sh OUT.img}")
cd "$(dirname "$(realpath "$0")")/.."
GOTOOLCHAIN=$(bundle/toolchain.sh)
export GOTOOLCHAIN
# ARCH is the nodes' architecture; the recipe itself runs here.
exec env -u GOOS -u GOARCH go run ./bundle/build "$out"
