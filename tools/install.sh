#!/bin/sh
# `make install` and `make uninstall`.  The paths come from the Makefile; DESTDIR goes before all of them.
set -eu
cd "$(dirname "$0")/.."

say() { printf 'install: %s\n' "$*" >&2; }

program() {
    # The final path of its Python is in it, even under DESTDIR.
    mkdir -p "$DESTDIR${1%/*}"
    tools/program.sh "$PREFIX/venv/bin/python3" >"$DESTDIR$1.new"
    chmod 755 "$DESTDIR$1.new"
    mv -f "$DESTDIR$1.new" "$DESTDIR$1"
}

account() {
    # The daemon's own; without it, the daemon takes a uid that is not in use.
    [ -z "$DESTDIR" ] && [ "$(id -u)" = 0 ] || return 0
    getent passwd cephmonfs >/dev/null 2>&1 || {
        if command -v systemd-sysusers >/dev/null; then
            systemd-sysusers "$PWD/contrib/sysusers.d/cephmonfs.conf"
        else
            useradd --system --user-group --home-dir / --no-create-home --shell /usr/sbin/nologin \
                --comment 'cephmonfs daemon' cephmonfs
        fi
    } >/dev/null 2>&1 || say "could not make the account cephmonfs: the daemon takes a uid that is not in use"
}

pages() { find man docs/man -name '*.[1-8]' 2>/dev/null || true; }

case ${1:-} in
    install)
        mkdir -p "$DESTDIR$PREFIX" 2>/dev/null && [ -w "$DESTDIR$PREFIX" ] || {
            say "$DESTDIR$PREFIX is not writable: run as root, or give PREFIX, SBINDIR, BINDIR and MANDIR"
            exit 2
        }
        VENV="$DESTDIR$PREFIX/venv" tools/setup.sh install
        for path in "$SBINDIR/mount.cephmon" "$BINDIR/cephmon" "$BINDIR/cephmonfs"; do
            program "$path"
        done
        account
        for page in $(pages); do
            mkdir -p "$DESTDIR$MANDIR/man${page##*.}"
            install -m 644 "$page" "$DESTDIR$MANDIR/man${page##*.}/"
        done
        completions="$DESTDIR${MANDIR%/man}/bash-completion/completions"
        mkdir -p "$completions"
        for name in cephmonfs mount.cephmon cephmon; do
            install -m 644 contrib/completion/cephmonfs.bash "$completions/$name"
        done
        say "$SBINDIR/mount.cephmon, $BINDIR/cephmonfs, $BINDIR/cephmon; environment in $PREFIX"
        ;;
    uninstall)
        rm -f "$DESTDIR$SBINDIR/mount.cephmon" "$DESTDIR$BINDIR/cephmonfs" "$DESTDIR$BINDIR/cephmon"
        for page in $(pages); do
            rm -f "$DESTDIR$MANDIR/man${page##*.}/${page##*/}"
        done
        for name in cephmonfs mount.cephmon cephmon; do
            rm -f "$DESTDIR${MANDIR%/man}/bash-completion/completions/$name"
        done
        rm -rf "$DESTDIR$PREFIX/venv"
        rmdir "$DESTDIR$PREFIX" 2>/dev/null || true
        say "removed, but for the account cephmonfs: its uid might be given to somebody else"
        ;;
    *)
        say "usage: tools/install.sh install|uninstall"
        exit 1
        ;;
esac
