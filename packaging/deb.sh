#!/usr/bin/env bash
# Makes a Debian package: packaging/deb.sh BINARY OUTPUT_FOLDER. Prints its path. The program is run for its man pages
# and completions, so it must be one for this machine.
# COMPRESSION is one that dpkg-deb knows, such as none.
set -euo pipefail
binary=$(realpath "$1")
mkdir -p "$2"
output=$(realpath "$2")
cd "$(dirname "$0")/.."

# A version such as 1.0.0-rc.1 comes before 1.0.0, which Debian writes with a tilde.
version=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"$/\1/p' Cargo.toml | sed 's/-/~/')
architecture=$(dpkg --print-architecture)
root=$(mktemp -d)
chmod 755 "$root"
trap 'rm -rf "$root"' EXIT
umask 022

install -D "$binary" "$root/usr/bin/hero-teams"
strip --strip-unneeded --remove-section=.comment "$root/usr/bin/hero-teams"
install -D -m 644 packaging/hero-teams.service "$root/usr/lib/systemd/system/hero-teams.service"
install -D -m 640 packaging/hero-teams.env "$root/etc/hero-teams/hero-teams.env"

mkdir -p "$root/usr/share/man/man1"
"$binary" man "$root/usr/share/man/man1"
gzip -9n "$root"/usr/share/man/man1/*
completions() {
    mkdir -p "$root/usr/share/$(dirname "$2")"
    "$binary" completions "$1" >"$root/usr/share/$2"
}
completions bash bash-completion/completions/hero-teams
completions zsh zsh/vendor-completions/_hero-teams
completions fish fish/vendor_completions.d/hero-teams.fish

doc=$root/usr/share/doc/hero-teams
mkdir -p "$doc"
gzip -9n <CHANGELOG.md >"$doc/changelog.gz"
install -m 644 LICENSE "$doc/copyright"

# A static binary needs nothing. Otherwise the version of the C library is the latest one that a symbol asks for.
depends=()
needed=$(readelf --dynamic --wide "$binary" | sed -n 's/.*(NEEDED).*\[\(.*\)\]$/\1/p')
for library in $needed; do
    case $library in
    libc.so.6 | libm.so.6 | ld-linux-*.so.*) ;;
    libgcc_s.so.1) depends+=(libgcc-s1) ;;
    *) echo "error: no package is known for $library" >&2 && exit 1 ;;
    esac
done
if [ -n "$needed" ]; then
    glibc=$(readelf --version-info --wide "$binary" | grep -o 'GLIBC_[0-9.]*' | sort -uV | tail -n 1)
    depends+=("libc6 (>= ${glibc#GLIBC_})")
fi

mkdir "$root/DEBIAN"
{
    cat <<EOF
Package: hero-teams
Version: $version
Architecture: $architecture
Maintainer: the hero-teams maintainers <hero-teams@example.org>
Installed-Size: $(du -sk --exclude=DEBIAN "$root" | cut -f 1)
Section: database
Priority: optional
EOF
    [ ${#depends[@]} = 0 ] || printf 'Depends: %s\n' "$(printf '%s, ' "${depends[@]}" | sed 's/, $//')"
    cat <<'EOF'
Recommends: ca-certificates
Description: GraphQL server for heroes and teams
 A GraphQL server for heroes, the teams they belong to, and the memberships
 that link them. It has SQLite inside, and works with PostgreSQL, too.
 .
 The service hero-teams is not started by the installation.
EOF
} >"$root/DEBIAN/control"
echo /etc/hero-teams/hero-teams.env >"$root/DEBIAN/conffiles"
(cd "$root" && find . -type f ! -path './DEBIAN/*' -printf '%P\0' | sort -z | xargs -0 md5sum >DEBIAN/md5sums)
install -m 755 packaging/debian/* "$root/DEBIAN/"

file=$output/hero-teams_${version}_$architecture.deb
dpkg-deb --build --root-owner-group -Z "${COMPRESSION:-xz}" "$root" "$file" >&2
echo "$file"
