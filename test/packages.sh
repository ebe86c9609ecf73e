#!/bin/sh
# Installs the Debian packages that dory's build and tests need. Does nothing, and needs no root, if all are there.
set -eu
packages=$(sed 's/#.*//' "$(dirname "$0")/packages.txt" | tr -s ' \n' ' ')
missing=
for package in $packages; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing="$missing $package"
done
[ -z "$missing" ] && exit 0
if ! command -v apt-get >/dev/null; then
    echo "these packages are needed (Debian's names):$missing" >&2
    exit 1
fi
sudo=
[ "$(id -u)" = 0 ] || sudo=sudo
$sudo apt-get update -q
DEBIAN_FRONTEND=noninteractive $sudo apt-get install -q -y --no-install-recommends $missing
