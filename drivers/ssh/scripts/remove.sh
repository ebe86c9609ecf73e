# Removes from the machine what dory put there. $1: the machine's UUID. Whatever was put there by others than the driver
# brought the program that removes it.
mark=none
[ -e /var/lib/dory/machine ] && read -r mark _ </var/lib/dory/machine
[ "$mark" = "$1" ] || exit 0
set -e
systemctl -q disable dory-machine.target || true
# shellcheck disable=SC2046 # the units that belong to it, which a stop of the target alone does not wait for
timeout 60 systemctl stop dory-machine.target $(systemctl show -P ConsistsOf dory-machine.target) || true
for program in /usr/local/lib/dory/remove /var/lib/dory/remove; do
    [ ! -x $program ] || $program
done
rm -f /etc/systemd/system/dory-machine.target
rm -rf /etc/systemd/system/dory-machine.target.wants
systemctl daemon-reload
# The mark goes last: until then a delete that was cut short is done again.
find /var/lib/dory -mindepth 1 ! -path /var/lib/dory/machine -delete
rm -rf /var/lib/dory
