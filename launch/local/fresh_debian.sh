#!/usr/bin/env bash
# For maintainers, as root: an empty Debian 12 in a folder, as a container would be, with a clone of what is committed
# here, to try the set-up as a new user meets it.
# usage: launch/local/fresh_debian.sh ROOT [--user NAME] [COMMAND...]
#   ROOT          folder to make the system in (0.3 GB, 4 GB after a build); one that is there is used again
#   --user NAME   run as that user, made when missing, without sudo
#   COMMAND       run in the clone; ./launch/test.sh --quick && ./launch/quickstart.sh when absent
# SPN_MIRROR: the package mirror. Proxies, certificates and pip settings of this machine come along, so that a closed
# network works; nothing else does.
set -euo pipefail

[ "$(id -u)" -eq 0 ] || { echo "expected to run as root: debootstrap and chroot need it" >&2 && exit 1; }
root=$(realpath -m "${1:?a folder for the system; see the first lines of this file}") && shift
user=root
if [ "${1:-}" = --user ]; then user=${2:?a name} && shift 2; fi
command=${*:-./launch/test.sh --quick && ./launch/quickstart.sh}
source=$(cd "$(dirname "$0")/../.." && pwd)
mirror=${SPN_MIRROR:-http://deb.debian.org/debian}

if [ ! -x "$root/usr/bin/apt-get" ]; then
  start=$SECONDS
  debootstrap --variant=minbase bookworm "$root" "$mirror" >/tmp/debootstrap.$$ || {
    tail -n 20 /tmp/debootstrap.$$ && exit 1
  }
  rm -f /tmp/debootstrap.$$
  echo "an empty Debian 12 in $root: $((SECONDS - start)) s"
fi

# The network as this machine sees it.
cp -L /etc/resolv.conf /etc/hosts "$root/etc/"
find /etc/apt/apt.conf.d /etc/apt/apt.conf -maxdepth 1 -iname '*prox*' -exec cp {} "$root/etc/apt/apt.conf.d/" \; 2>/dev/null || true
[ ! -f /etc/pip.conf ] || cp /etc/pip.conf "$root/etc/"
keep=()
for name in http_proxy https_proxy no_proxy HTTP_PROXY HTTPS_PROXY NO_PROXY PIP_INDEX_URL PIP_DEFAULT_TIMEOUT; do
  [ -z "${!name:-}" ] || keep+=("$name=${!name}")
done
# a certificate authority of this network
bundle=${PIP_CERT:-${SSL_CERT_FILE:-}}
if [ -n "$bundle" ]; then
  mkdir -p "$root/opt" && cp -L "$bundle" "$root/opt/certificates.crt"
  keep+=(PIP_CERT=/opt/certificates.crt SSL_CERT_FILE=/opt/certificates.crt)
fi

id=$(chroot "$root" id -u "$user" 2>/dev/null) || { chroot "$root" useradd -m "$user" && id=$(chroot "$root" id -u "$user"); }
home=$(chroot "$root" getent passwd "$user" | cut -d: -f6)
clone=$home/spotniche
if [ ! -d "$root$clone" ]; then
  git clone -q --no-hardlinks "$source" "$root$clone"
  chown -R "$id" "$root$clone"
else
  git -c safe.directory='*' -C "$root$clone" fetch -q "$source" HEAD
  git -c safe.directory='*' -C "$root$clone" checkout -q --force FETCH_HEAD
  chown -R "$id" "$root$clone"
fi
echo "commit $(git -c safe.directory='*' -C "$root$clone" log --oneline -1); as $user: $command"

# A mount table of its own: whatever happens, nothing stays mounted.
start=$SECONDS status=0
unshare --mount --propagation private bash -euc '
  root=$1 user=$2 shift_env=$3 clone=$4 command=$5
  mount -t proc proc "$root/proc"
  mount --rbind /dev "$root/dev"
  mount --rbind /sys "$root/sys"
  exec chroot --userspec="$user" "$root" /usr/bin/env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    HOME="$(dirname "$clone")" LANG=C.UTF-8 $shift_env bash -c "cd $clone && $command"
' bash "$root" "$user" "${keep[*]-}" "$clone" "$command" || status=$?
echo "status $status after $(((SECONDS - start) / 60)) min $(((SECONDS - start) % 60)) s"
exit "$status"
