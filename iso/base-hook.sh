# mmdebstrap runs this in a shell, with the new root as $1, the package lists still there, and in $parts the names of the
# packages that files-taken takes files from. Those, kernel and boot loader are unpacked, not installed: installing a
# kernel would bring initramfs-tools and udev, a boot loader its configuration.
set -eu
root=$1
export APT_CONFIG="$MMDEBSTRAP_APT_CONFIG"
arch=$(chroot "$root" dpkg --print-architecture)
case $arch in
amd64) grub='grub-efi-amd64-bin grub-pc-bin' ;;
arm64) grub='grub-efi-arm64-bin' ;;
esac
kernel=$(apt-cache depends "linux-image-cloud-$arch" | sed -n 's/^ *Depends: \(linux-image-[0-9].*\)/\1/p')
mkdir "$root/build"
cd "$root/build"
apt-get -o APT::Sandbox::User=root download -qq "$kernel" $grub $parts
for deb in *.deb; do dpkg-deb -x "$deb" .; done
for deb in *.deb; do dpkg-deb -W --showformat='${Package} ${Version}\n' "$deb"; done >packages
rm -- *.deb
chroot "$root" dpkg-query -W -f '${Package} ${Version}\n' >>packages
# The day of the archive: of the newest of its lists that were read.
sed -n 's/^Date: //p' "$root"/var/lib/apt/lists/*Release | while read -r date; do date -u -d "$date" +%F; done | sort | tail -n 1 >date
test -s date
