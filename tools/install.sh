#!/bin/sh
# `make install` and `make uninstall`.  The paths come from the Makefile; DESTDIR goes before all of them.
set -eu
cd "$(dirname "$0")/.."

say() { printf 'install: %s\n' "$*" >&2; }

program() {
    # $1 path, $2 module.  Not pip's scripts: these hold the final path even under DESTDIR, and -I keeps the caller's
    # PYTHONPATH, user site and working directory out of a program that root's mount(8) runs.
    mkdir -p "$DESTDIR${1%/*}"
    printf '#!%s/venv/bin/python3 -I\nimport sys\n\nfrom %s import main\n\nsys.exit(main())\n' "$PREFIX" "$2" \
        >"$DESTDIR$1.new"
    chmod 755 "$DESTDIR$1.new"
    mv -f "$DESTDIR$1.new" "$DESTDIR$1"
}

pages() { find man docs/man -name '*.[1-8]' 2>/dev/null || true; }

case ${1:-} in
    install)
        mkdir -p "$DESTDIR$PREFIX" 2>/dev/null && [ -w "$DESTDIR$PREFIX" ] || {
            say "$DESTDIR$PREFIX is not writable: run as root, or give PREFIX, SBINDIR, BINDIR and MANDIR"
            exit 2
        }
        VENV="$DESTDIR$PREFIX/venv" tools/setup.sh install
        program "$SBINDIR/mount.cephmon" cephmonfs.cli.mount
        program "$BINDIR/cephmon" cephmonfs.cli.mount
        program "$BINDIR/cephmonfs" cephmonfs.cli.main
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
        say "removed"
        ;;
    *)
        say "usage: tools/install.sh install|uninstall"
        exit 1
        ;;
esac
