# The first process of the namespaces in which pcscd runs isolated; $1 is the owner's private folder.
# It ends, and everything in the namespaces with it, when its standard input does: the owner holds the other end, so even
# an owner that is killed leaves nothing behind.
set -e
PATH=$PATH:/usr/sbin:/sbin
exec 3<&0
ip link set lo up
mount -t tmpfs tmpfs /run
mkdir /run/pcscd /run/drivers
mount --bind "$1" /run/pcscd
# The virtual reader's driver stays visible, those of real readers do not: they belong to the machine's own pcscd.
mount --bind /usr/lib/pcsc/drivers/serial /run/drivers
mount -t tmpfs tmpfs /usr/lib/pcsc/drivers
trap 'rm -rf "$1"; exit 0' TERM
{ cat >/dev/null <&3; kill -TERM 1; } &
# Later versions ask polkit who may use a card; here the folder's permissions decide.
polkit=$(pcscd --help | grep -o -e '--disable-polkit' || true)
pcscd --foreground --info $polkit --config "$1/readers" >>"$1/pcscd.log" 2>&1 &
wait $!
