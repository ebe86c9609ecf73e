#!/bin/bash
# build.sh OUT.iso [ARCH]: makes the node image, OUT.iso.sha256 beside it, and OUT.iso.inputs, by which the next run sees
# that there is nothing to do. Same inputs, same bytes: the inputs are the files here and Debian's archive of the day.
#
#   base.tar   Debian packages, kernel, GRUB         make_base     (mmdebstrap)
#   root       the node's root, trimmed and ours     make_root
#   iso/boot   kernel, initrd, root.erofs, cmdline   make_boot
#   OUT.iso    hybrid ISO: CD or disk, BIOS or UEFI  make_iso
#
# ISO_WORK=DIR keeps the intermediate files in DIR and takes base.tar from there if it exists.
set -euo pipefail
umask 022
export LC_ALL=C TZ=UTC

out=$(realpath -m "${1:?usage: build.sh OUT.iso [ARCH]}")
arch=${2:-$(dpkg --print-architecture)}
here=$(dirname "$(realpath "$0")")
SOURCE_DATE_EPOCH=$(cat "$here/epoch")
export SOURCE_DATE_EPOCH
uuid=d0127000-0000-4000-8000-000000000001 # of the root file system; anything that never changes
. "$here/lib.sh"
. "$here/grub.sh"

# What the image is made from, as one digest. Go files test and read it but are not in it.
inputs() {
    cd "$here"
    { echo "$arch"; find . -type f ! -name '*.go' ! -name packages-host -print0 | sort -z | xargs -0 sha256sum; } | sha256sum | cut -d' ' -f1
}

make_base() {
    mmdebstrap --quiet --variant=essential --architectures="$arch" --components=main \
        --include="$(words "$here/packages" | paste -sd,)" \
        --dpkgopt='path-exclude=/usr/share/man/*' \
        --dpkgopt='path-exclude=/usr/share/locale/*' \
        --dpkgopt='path-exclude=/usr/share/doc/*' \
        --dpkgopt='path-include=/usr/share/doc/*/copyright' \
        --customize-hook="parts='$(words "$here/files-taken" | sort -u | paste -sd' ')'; $(cat "$here/base-hook.sh")" \
        trixie "$work/base.tar"
}

make_root() {
    rm -rf "$work/root" "$work/build"
    mkdir "$work/root"
    tar -x -f "$work/base.tar" -C "$work/root" --no-same-owner --exclude='./dev/*'
    mv "$work/root/build" "$work/build"
    kernel=$(ls "$work/build/usr/lib/modules")
    copy_parts
    trim_root "$work/root"
    copy_modules
    copy_ours
}

# copy_modules takes the kernel's modules over, without what no virtual machine has.
copy_modules() {
    local to=$work/root/usr/lib/modules/$kernel
    mkdir -p "$work/root/usr/lib/modules"
    cp -r "$work/build/usr/lib/modules/$kernel" "$to"
    words "$here/modules-dropped" | sed "s|^|$to/kernel/|" | xargs rm -rf
    # The root is compressed anyhow, and xz would be unpacked by an emulated processor, at each load of a module.
    find "$to" -name '*.ko.xz' -print0 | xargs -0 -n 32 -P "$(nproc)" unxz
    depmod -b "$work/root" "$kernel"
    rm -f "$to"/modules.{alias,dep,symbols} # kmod reads the binary ones
}

# copy_parts takes single files out of packages that are too large, or bring too much with them, to be installed.
copy_parts() {
    local package path name
    while read -r package path name; do
        case $package in '#'* | '') continue ;; esac
        mkdir -p "$work/root/$(dirname "${name:-$path}")"
        cp -a "$work/build/$path" "$work/root/${name:-$path}"
    done <"$here/files-taken"
}

# copy_ours puts this directory's files over Debian's and decides what starts.
copy_ours() {
    local units=$work/root/etc/systemd/system unit name
    overlay_files "$here/rootfs" "$work/root"
    for name in $(words "$here/busybox-links"); do
        ln -s busybox "$work/root/usr/bin/$name"
    done
    rm -rf "$units"/*.wants
    words "$here/units-masked" | while read -r unit; do
        ln -sf /dev/null "$units/$unit"
    done
    mkdir "$units/sysinit.target.wants"
    for unit in ssh dhcp node-setup power-button clock; do
        ln -s "/etc/systemd/system/$unit.service" "$units/sysinit.target.wants/$unit.service"
    done
    ln -s /etc/systemd/system/ssh.socket "$units/sysinit.target.wants/ssh.socket"
    ln -sf /usr/lib/systemd/system/multi-user.target "$units/default.target"
}

make_initrd() {
    local dir=$work/initrd to=$work/initrd/lib/modules/$kernel name path
    rm -rf "$dir"
    mkdir -p "$dir"/{bin,dev,proc,sys,iso,lower,data,new} "$to"
    cp "$work/root/usr/bin/busybox" "$dir/bin/"
    install -m 755 "$here/initrd/init" "$dir/init"
    words "$here/initrd/modules" >"$dir/modules"
    head -c 1048576 /dev/zero >"$dir/zeros"
    local lists=("$here/initrd/modules" "$here/initrd/modules-fallback") own=$here/initrd/modules-fallback-$arch
    [ ! -e "$own" ] || lists+=("$own")
    for name in $(words "${lists[@]}"); do
        modprobe -d "$work/root" -S "$kernel" --show-depends "$name" | sed -n 's|^insmod .*\(kernel/[^ ]*\).*|\1|p'
    done | sort -u | while read -r path; do
        install -m 644 -D "$work/root/usr/lib/modules/$kernel/$path" "$to/$path"
    done
    cp "$work/build/usr/lib/modules/$kernel"/modules.{order,builtin,builtin.modinfo} "$to/"
    depmod -b "$dir" "$kernel"
    rm -f "$to"/modules.*.bin "$to"/modules.{symbols,softdep,devname,order,builtin.modinfo}
    set_times "$dir"
    (cd "$dir" && find . | sort | cpio --quiet --reproducible -o -H newc -R 0:0) | zstd -q -9 >"$work/iso/boot/initrd"
}

make_boot() {
    rm -rf "$work/iso"
    mkdir -p "$work/iso/boot/grub"
    cp "$work"/build/boot/vmlinu?-"$kernel" "$work/iso/boot/vmlinuz"
    make_initrd
    set_times "$work/root"
    mkfs.erofs --quiet -zlz4hc,9 -C16384 -T"$SOURCE_DATE_EPOCH" -U"$uuid" --all-root "$work/iso/boot/root.erofs" "$work/root" >"$work/mkfs.log" 2>&1 ||
        { cat "$work/mkfs.log" >&2; return 1; }
    # The kernel unpacks archives that follow each other; each begins with its files' headers, the name included.
    touch -d "@$SOURCE_DATE_EPOCH" "$work/iso/boot/root.erofs"
    (cd "$work/iso/boot" && echo root.erofs | cpio --quiet --reproducible -o -H newc -R 0:0 | head -c 124 >root.cpio-header) || true
    cp "$here/cmdline" "$work/iso/boot/cmdline"
    sed "s|@CMDLINE@|$(cat "$here/cmdline")|" "$here/grub/grub.cfg" >"$work/iso/boot/grub/grub.cfg"
    describe >"$work/iso/dory.json"
}

# describe prints what is in the image.
describe() {
    local name version comma=
    printf '{\n  "arch": "%s",\n  "debian": "%s",\n  "date": "%s",\n  "kernel": "%s",\n  "packages": {' \
        "$arch" "$(cat "$work/root/etc/debian_version")" "$(cat "$work/build/date")" "$kernel"
    while read -r name version; do
        printf '%s\n    "%s": "%s"' "$comma" "$name" "$version"
        comma=,
    done < <(sort -u "$work/build/packages")
    printf '\n  }\n}\n'
}

digest=$(inputs)
if [ -s "$out" ] && [ "$(cat "$out.inputs" 2>/dev/null)" = "$digest" ]; then
    echo "$out: nothing to do"
    exit 0
fi
mkdir -p "$(dirname "$out")"
if [ -n "${ISO_WORK:-}" ]; then
    work=$(realpath -m "$ISO_WORK")
    mkdir -p "$work"
else
    work=$(mktemp -d "${TMPDIR:-/tmp}/dory-iso.XXXXXX")
    trap 'rm -rf "$work"' EXIT
fi
[ -n "${ISO_WORK:-}" ] && [ -s "$work/base.tar" ] || make_base
make_root
make_boot
make_iso "$work/out.iso"
publish "$work/out.iso" "$out" "$digest"
