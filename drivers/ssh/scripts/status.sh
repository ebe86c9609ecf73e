# Prints what the machine is doing, a line each: mark=UUID, active=STATE, ip=its own address, peer=who asks. $1: the UUID.
mark=none
[ -e /var/lib/dory/machine ] && read -r mark _ </var/lib/dory/machine
echo "mark=$mark"
[ "$mark" = "$1" ] || exit 0
echo "active=$(systemctl is-active dory-machine.target)"
# shellcheck disable=SC2086
set -- $SSH_CONNECTION # the peer's address and port, then our own
ip=$3
case $ip in
127.* | "") ip=$(ip -4 route get 192.0.2.1 | sed -n 's/.* src \([0-9.]*\).*/\1/p') ;;
esac
echo "ip=$ip"
echo "peer=$1"
