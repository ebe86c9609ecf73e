# Marks the machine as one cluster's. $1: the machine's UUID; $2: the cluster's name; $3: the text of dory-machine.target.
set -e
umask 077
mkdir -p /var/lib/dory
cd /var/lib/dory
# The mark is made by a link, which fails if there is one: of two clusters that come at once, one is first.
echo "$1 $2" >machine.$1
ln machine.$1 machine 2>/dev/null || true
rm machine.$1
read -r owner name <machine
[ "$owner" = "$1" ] || { echo "the machine belongs to cluster $name of dory's ($owner)" >&2; exit 4; }
unit=/etc/systemd/system/dory-machine.target
if ! [ -e $unit ]; then
    echo "$3" >$unit.tmp
    chmod 644 $unit.tmp
    mv $unit.tmp $unit
    systemctl daemon-reload
fi
