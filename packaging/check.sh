#!/usr/bin/env bash
# Builds the static binary and the Debian package, and starts the server from each: in a root that has no other file, as
# in the container image, and in a new Debian. With a BINARY as the argument, that one is packed.
set -euo pipefail
cd "$(dirname "$0")/.."
MAX_BYTES=30000000
fail() { echo "error: $*" >&2 && exit 1; }

binary=${1:-$(packaging/static.sh)}
folder=$(mktemp -d)
server=
end() {
    [ -z "$server" ] || kill -KILL "$server" 2>/dev/null || true
    rm -rf --one-file-system "$folder"
}
trap end EXIT

port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
# Runs a program in a root, without root's rights and without the variables of this script.
in_root() {
    exec env -i PATH=/usr/sbin:/usr/bin HERO_TEAMS_LISTEN="127.0.0.1:$port" DATABASE_URL="sqlite://$data/hero-teams.db" \
        chroot --userspec=65532:65532 --groups= "$root" "$@"
}
# Starts a server in a root, asks it whether it is ready, and stops it.
serves() {
    local status=0
    in_root "$1" &
    server=$!
    for attempt in {1..100}; do
        (in_root "$1" health) >"$folder/health" 2>&1 && break
        if [ "$attempt" = 100 ] || ! kill -0 "$server"; then fail "$(cat "$folder/health")"; fi
        sleep 0.1
    done
    kill -TERM "$server"
    wait "$server" || status=$?
    server=
    [ "$status" = 0 ] || fail "the server ended with $status"
}

cp "$binary" "$folder/hero-teams"
strip "$folder/hero-teams"
bytes=$(stat --format %s "$folder/hero-teams")
echo "$bytes bytes"
[ "$bytes" -lt "$MAX_BYTES" ] || fail "the binary has more than $MAX_BYTES bytes"
! readelf --dynamic --program-headers --wide "$binary" | grep -E 'NEEDED|INTERP' || fail "the binary is not static"
package=$(packaging/deb.sh "$binary" "$folder")

if [ "$(id -u)" != 0 ]; then
    echo "skipped: only root can start it in other roots"
    exit
fi

echo "In a root without other files:"
root=$folder/empty data=/data
mkdir -p "$root/data"
chown 65532:65532 "$root/data"
cp "$folder/hero-teams" "$root/"
serves /hero-teams
files=$(cd "$root" && find . -type f | sort)
echo "$files"
[ "$files" = $'./data/hero-teams.db\n./hero-teams' ] || fail "there are other files"

echo "In a new Debian:"
root=$folder/debian data=/tmp
release=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)
mmdebstrap --quiet --variant=essential "$release" "$root"
cp "$package" "$root/package.deb"
chroot "$root" dpkg --install /package.deb
(in_root hero-teams --version)
serves hero-teams
chroot "$root" dpkg --purge hero-teams
rm "$root/package.deb" "$root"/tmp/hero-teams.db
left=$(cd "$root" && find . -xdev -name '*hero-teams*')
[ -z "$left" ] || fail "purging leaves $left"
