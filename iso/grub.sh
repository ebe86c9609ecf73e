# The boot loader's part of build.sh.

grub_modules='iso9660 part_msdos part_gpt fat search search_label normal configfile linux regexp test serial terminal minicmd echo reboot halt'

# make_esp makes the EFI system partition: a FAT file system with nothing but GRUB. GRUB finds the ISO by its label.
make_esp() {
    local platform=$1 name=$2 esp=$work/esp.img
    printf 'search --no-floppy --set=root --label DORY --hint hd0\nset prefix=($root)/boot/grub\nconfigfile $prefix/grub.cfg\n' >"$work/early.cfg"
    grub-mkimage -d "$work/build/usr/lib/grub/$platform" -O "$platform" -c "$work/early.cfg" -p /boot/grub -o "$work/$name" $grub_modules
    touch -d "@$SOURCE_DATE_EPOCH" "$work/$name"
    rm -f "$esp"
    truncate -s 2M "$esp"
    mformat -i "$esp" -N d0127000 -v DORYEFI ::
    mmd -i "$esp" ::/EFI ::/EFI/BOOT
    mcopy -m -i "$esp" "$work/$name" "::/EFI/BOOT/$name"
}

# make_iso makes the hybrid ISO.
#
# A disk's partition table has: 1 the ISO itself, 2 the EFI system partition, behind the ISO's files, and 4 the root, which
# lies where /boot/root.erofs lies: so a kernel mounts the root from the disk, with nothing between. xorriso cannot write
# an entry for a file's extent, so it is written afterwards.
make_iso() {
    local args=(-V DORY -r -J -joliet-long --modification-date="$(date -d "@$SOURCE_DATE_EPOCH" +%Y%m%d%H%M%S00)")
    case $arch in
    amd64)
        make_esp x86_64-efi BOOTX64.EFI
        local bios=$work/build/usr/lib/grub/i386-pc
        grub-mkimage -d "$bios" -O i386-pc-eltorito -c "$work/early.cfg" -p /boot/grub -o "$work/iso/boot/grub/eltorito.img" biosdisk $grub_modules
        args+=(--grub2-mbr "$bios/boot_hybrid.img" -b boot/grub/eltorito.img -no-emul-boot -boot-load-size 4 -boot-info-table --grub2-boot-info)
        ;;
    arm64) make_esp arm64-efi BOOTAA64.EFI ;;
    esac
    args+=(-append_partition 2 0xef "$work/esp.img" -partition_cyl_align off -partition_offset 0
        -eltorito-alt-boot -e --interval:appended_partition_2:all:: -no-emul-boot)
    set_times "$work/iso"
    rm -f "$1"
    xorriso -as mkisofs -quiet "${args[@]}" -o "$1" "$work/iso" 2>"$work/xorriso.log" || { cat "$work/xorriso.log" >&2; return 1; }
    add_root_partition "$1"
}

# add_root_partition writes the fourth entry of the partition table, of type Linux, over the extent of /boot/root.erofs.
add_root_partition() {
    local block bytes
    block=$(xorriso -indev "$1" -find /boot/root.erofs -exec report_lba 2>/dev/null | awk -F, '/^File data lba/ {print $2 + 0}')
    bytes=$(stat -c %s "$work/iso/boot/root.erofs")
    {
        printf '\x00\xfe\xff\xff\x83\xfe\xff\xff'
        little_endian $((block * 4)) $((bytes / 512))
    } | dd of="$1" bs=1 seek=$((446 + 3 * 16)) conv=notrunc status=none
}

little_endian() {
    local n
    for n; do
        printf "\\x$(printf %02x $((n & 255)))\\x$(printf %02x $((n >> 8 & 255)))\\x$(printf %02x $((n >> 16 & 255)))\\x$(printf %02x $((n >> 24 & 255)))"
    done
}
