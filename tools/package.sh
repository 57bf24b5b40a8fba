#!/bin/sh
# Packages into dist/.
#
#   tools/package.sh dist   wheel and sdist, by the pinned hatchling of .venv
#   tools/package.sh deb    a Debian package for Debian 12 and 13
#
# The .deb is put together by dpkg-deb alone, which every Debian has: the project is pure Python on the distribution's
# own packages, so there is nothing to build, and nothing of debhelper to install.
set -eu
cd "$(dirname "$0")/.."
umask 022

version=$(sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
# One moment for all files, so that the same commit gives the same package.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || stat -c %Y pyproject.toml)}
export SOURCE_DATE_EPOCH
mkdir -p dist

dist() {
    rm -f dist/cephmonfs-*.whl dist/cephmonfs-*.tar.gz
    .venv/bin/python -m hatchling build --directory dist >dist/build.log 2>&1 || { cat dist/build.log >&2; exit 1; }
    rm -f dist/build.log
    ls dist/cephmonfs-*
}

program() {
    mkdir -p "$root${1%/*}"
    tools/program.sh /usr/bin/python3 >"$root$1"
    chmod 755 "$root$1"
}

control() {
    cat <<EOF
Package: cephmonfs
Version: $version-1
Architecture: all
Maintainer: The cephmonfs authors <cephmonfs@localhost>
Section: admin
Priority: optional
Installed-Size: $(du -sk --apparent-size "$root" | cut -f1)
Depends: python3 (>= 3.11), python3-pyfuse3 (>= 3.2.1), python3-trio (>= 0.22), python3-outcome,
 python3-cryptography (>= 38), python3-crc32c (>= 2.3), python3-dnspython (>= 2.3),
 python3-prometheus-client (>= 0.16), fuse3, mount,
 adduser | systemd-sysusers
Suggests: python3-rich
Description: Ceph cluster as a file system that only asks its monitors
 mount -t cephmon starts one small daemon that is a client of a Ceph cluster's
 monitors.  It answers df from them and shows health, capacity, maps, every
 read-only monitor command and its own session as files, for monitoring tools
 and scripts.  Needs neither librados nor the kernel's Ceph client.
EOF
}

copyright() {
    printf 'Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\nUpstream-Name: cephmonfs\n\n'
    printf 'Files: *\nCopyright: %s\nLicense: Expat\n' "$(sed -n 's/^Copyright (c) //p' LICENSE)"
    sed -e '1,/^Copyright/d' -e 's/^$/./' -e 's/^/ /' LICENSE | sed '1{/^ \.$/d}'
}

changelog() {
    printf 'cephmonfs (%s-1) unstable; urgency=medium\n\n  * See CHANGELOG.md.\n\n' "$version"
    printf ' -- The cephmonfs authors <cephmonfs@localhost>  %s\n' "$(date -u -R -d "@$SOURCE_DATE_EPOCH")"
}

postinst() {
    cat <<'EOF'
#!/bin/sh
set -e
[ "$1" = configure ] || exit 0
# The daemon's account.  Whoever has an account of that name already keeps it.
if ! getent passwd cephmonfs >/dev/null; then
    if command -v systemd-sysusers >/dev/null; then
        systemd-sysusers cephmonfs.conf
    else
        adduser --quiet --system --group --no-create-home --home /nonexistent --gecos 'cephmonfs daemon' cephmonfs
    fi
fi
! command -v py3compile >/dev/null || py3compile -p cephmonfs
EOF
}

deb() {
    root=$(mktemp -d)
    trap 'rm -rf "$root"' EXIT
    chmod 755 "$root"
    doc=$root/usr/share/doc/cephmonfs
    modules=$root/usr/lib/python3/dist-packages
    mkdir -p "$root/DEBIAN" "$modules" "$doc/examples" "$root/usr/lib/systemd/system" \
        "$root/usr/share/bash-completion/completions"
    find cephmonfs -name '*.py' -print | while read -r file; do
        install -D -m 644 "$file" "$modules/$file"
    done
    program /usr/sbin/mount.cephmon
    program /usr/bin/cephmon
    program /usr/bin/cephmonfs
    for page in man/*; do
        target=$root/usr/share/man/man${page##*.}
        mkdir -p "$target"
        gzip -9nc "$page" >"$target/${page##*/}.gz"
    done
    for name in cephmonfs mount.cephmon cephmon; do
        install -m 644 contrib/completion/cephmonfs.bash "$root/usr/share/bash-completion/completions/$name"
    done
    install -m 644 "contrib/systemd/cephmonfs@.service" "$root/usr/lib/systemd/system/"
    install -D -m 644 contrib/sysusers.d/cephmonfs.conf "$root/usr/lib/sysusers.d/cephmonfs.conf"
    install -m 644 README.md "$doc/"
    cp -R docs "$doc/docs"
    rm -rf "$doc/docs/man"
    cp -R contrib/. "$doc/examples/"
    rm -rf "$doc/examples/bin" "$doc/examples/completion" "$doc/examples/sysusers.d" \
        "$doc/examples/systemd/cephmonfs@.service"
    copyright >"$doc/copyright"
    changelog | gzip -9n >"$doc/changelog.Debian.gz"
    gzip -9nc CHANGELOG.md >"$doc/changelog.gz"
    find "$root" -type d -exec chmod 755 {} +
    find "$doc" -type f -exec chmod 644 {} +
    control >"$root/DEBIAN/control"
    postinst >"$root/DEBIAN/postinst"
    printf '#!/bin/sh\nset -e\n! command -v py3clean >/dev/null || py3clean -p cephmonfs\n' >"$root/DEBIAN/prerm"
    # What mounts remembered goes when the package is purged; the account stays, as accounts do (Debian policy 9.2.2).
    printf '#!/bin/sh\nset -e\n[ "$1" != purge ] || rm -rf /var/lib/cephmonfs\n' >"$root/DEBIAN/postrm"
    chmod 755 "$root/DEBIAN/postinst" "$root/DEBIAN/prerm" "$root/DEBIAN/postrm"
    (cd "$root" && find usr -type f -exec md5sum {} + | LC_ALL=C sort -k2 >DEBIAN/md5sums)
    find "$root" -exec touch -hd "@$SOURCE_DATE_EPOCH" {} +
    dpkg-deb --root-owner-group --build "$root" "dist/cephmonfs_$version-1_all.deb" >/dev/null
    ls "dist/cephmonfs_$version-1_all.deb"
}

case ${1:-} in
    dist) dist ;;
    deb) deb ;;
    *)
        echo "usage: tools/package.sh dist|deb" >&2
        exit 1
        ;;
esac
