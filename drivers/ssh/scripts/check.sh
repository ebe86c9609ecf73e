# Looks whether this machine can become a node, and touches nothing. $1: the machine's UUID; $2: MiB of disk that are
# needed at least; the rest: ports that must be free. Exits 3 if something is lacking, 4 if the machine is taken, 5 if a
# port is, 6 without enough disk, 7 without enough memory.
uuid=$1 disk=$2
shift 2
lacks() { echo "$1" >&2; exit "${2:-3}"; }

mine=
if [ -e /var/lib/dory/machine ]; then
    read -r owner name </var/lib/dory/machine
    [ "$owner" = "$uuid" ] || lacks "the machine belongs to cluster $name of dory's ($owner)" 4
    mine=yes
fi
[ "$(cat /proc/1/comm)" = systemd ] || lacks "process 1 is $(cat /proc/1/comm), not systemd"
[ "$(stat -fc %T /sys/fs/cgroup)" = cgroup2fs ] || lacks "cgroups are not those of version 2 (systemd.unified_cgroup_hierarchy=1)"
release=$(uname -r)
[ "$(printf '%s\n5.13\n' "$release" | sort -V | head -n 1)" = 5.13 ] || lacks "the kernel is $release; kube-proxy needs 5.13 or newer"
for tool in nft ip modprobe mount losetup tar sha256sum; do
    command -v $tool >/dev/null || lacks "there is no $tool; Debian's packages are nftables, iproute2, kmod, mount, tar and coreutils"
done
for module in overlay br_netfilter nf_conntrack nf_tables veth loop; do
    [ -d /sys/module/$module ] || modprobe -nq $module || lacks "the kernel has no module $module"
done
modprobe -nq erofs || grep -qw erofs /proc/filesystems || lacks "the kernel has no erofs, which the bundle is"
[ "$(swapon --noheadings --show=NAME 2>/dev/null | wc -l)" = 0 ] || lacks "swap is on, and a kubelet wants it off: 'swapoff -a'"
memory=$(($(sed -n 's/^MemTotal: *\([0-9]*\) kB/\1/p' /proc/meminfo) / 1024))
[ "$memory" -ge 1700 ] || lacks "the machine has $memory MiB of memory; a node needs 1700" 7
[ -n "$mine" ] && exit 0

free=$(df -Pm /var/lib | awk 'NR == 2 {print $4}')
[ "$free" -ge "$disk" ] || lacks "$free MiB are free in /var/lib; at least $disk are needed" 6
for unit in kubelet k3s rke2-server k0scontroller containerd docker crio etcd kube-apiserver; do
    path=$(systemctl show -P FragmentPath $unit.service)
    [ -z "$path" ] || lacks "there is a $unit already: $path" 4
done
for path in /etc/kubernetes /var/lib/kubelet /var/lib/etcd /var/lib/containerd /etc/containerd /etc/cni /opt/cni; do
    [ ! -e $path ] || lacks "another Kubernetes or container runtime is or was here: there is $path" 4
done
for port in "$@"; do
    listener=$(cat /proc/net/tcp /proc/net/tcp6 | grep -iE "$(printf ':%04X 0+:0000 0A' "$port")") || continue
    [ -z "$listener" ] || lacks "port $port is in use" 5
done
