package provision

import "context"

// The node keeps a copy of etcd's data when it boots with another Kubernetes than before:
// provision/rootfs/usr/local/lib/dory/adopt-bundle makes it, before etcd runs.

// RestoreData puts etcd's data back as it was before the node had another Kubernetes, and ends what works with the data. A
// node that never came so far as to make a copy has the data still.
func RestoreData(ctx context.Context, r Runner) error {
	return command(ctx, r, "put etcd's data back", `set -e
systemctl stop kubelet kube-proxy kube-scheduler kube-controller-manager kube-apiserver etcd || true
copy=/var/lib/dory/etcd.before
[ -e $copy ] || exit 0
rm -rf $copy.back
cp -a $copy $copy.back
rm -rf /var/lib/etcd
mv $copy.back /var/lib/etcd
sync -f /var/lib/etcd`)
}

// DropData removes the copy: there is no way back from here.
func DropData(ctx context.Context, r Runner) error {
	return command(ctx, r, "remove the copy of etcd's data", "rm -rf /var/lib/dory/etcd.before")
}

// GrowDisk lets the file system of the node's data disk fill it, as iso/initrd/init does at a boot; the two must leave the
// same sectors free at the end.
func GrowDisk(ctx context.Context, r Runner) error {
	return command(ctx, r, "grow the node's file system", `set -e
for serial in /sys/block/*/serial; do
    [ "$(cat $serial)" = dory-data ] || continue
    disk=${serial%/serial}
    resize2fs /dev/${disk##*/} $((($(cat $disk/size) - 2048) / 2))k
    exit
done
echo "no disk has the serial dory-data" >&2
exit 1`)
}
