#!/bin/sh
# Make this checkout runnable: Debian packages and .venv.  Idempotent; when nothing is missing it takes a blink.
#
#   tools/setup.sh runtime    what running needs: FUSE, a compiler for pyfuse3, .venv with the pinned runtime packages
#   tools/setup.sh dev        the same plus Ceph's own daemons, mmdebstrap and the pinned development packages
#   tools/setup.sh cluster    only what throw-away Ceph clusters need (no .venv)
#   tools/setup.sh bench      what plots and profiles of the benchmarks need, in an environment of its own at $VENV
#   tools/setup.sh install    what running needs, in an environment at $VENV for `make install`
#
# Environment: PYTHON (default: /usr/bin/python3 where it is 3.11 or newer), VENV (default: .venv).
set -eu

cd "$(dirname "$0")/.."
what=${1:-dev}
venv=${VENV:-.venv}

runtime_packages="fuse3 libfuse3-dev pkg-config gcc python3-dev python3-venv ca-certificates"
cluster_packages="ceph-mon ceph-mgr ceph-osd ceph-mds ceph-fuse ceph-common mmdebstrap debian-archive-keyring util-linux"
test_packages="python3-rados procps iproute2 jq rsync zip monitoring-plugins-basic faketime"

say() { printf 'setup: %s\n' "$*" >&2; }
die() { say "$*"; exit 2; }

# --- Debian packages -------------------------------------------------------------------------------------------------

missing_packages() {
    for package in "$@"; do
        status=$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null || true)
        [ "$status" = installed ] || printf '%s ' "$package"
    done
}

need_packages() {
    if ! command -v dpkg-query >/dev/null; then
        say "not a Debian system: please see to the equivalents of: $*"
        return
    fi
    missing=$(missing_packages "$@")
    [ -n "$missing" ] || return 0
    if [ "$(id -u)" != 0 ]; then
        die "missing Debian packages; as root:  apt-get install --no-install-recommends $missing"
    fi
    say "installing Debian packages: $missing"
    log=$(mktemp)
    export DEBIAN_FRONTEND=noninteractive
    # The lists may be absent (a fresh container) or too old to find anything: then update and try once more.
    # shellcheck disable=SC2086
    apt-get install -y --no-install-recommends $missing >"$log" 2>&1 </dev/null || {
        say "updating the package lists"
        { apt-get update && apt-get install -y --no-install-recommends $missing; } >"$log" 2>&1 </dev/null || {
            tail -n 20 "$log" >&2
            rm -f "$log"
            die "apt-get could not install: $missing"
        }
    }
    rm -f "$log"
}

# --- Python ----------------------------------------------------------------------------------------------------------

new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

find_python() {
    # Debian's own interpreter first: it is the one python3-dev has the headers for.
    for python in ${PYTHON:-} /usr/bin/python3 python3 python3.13 python3.12 python3.11; do
        if command -v "$python" >/dev/null && new_enough "$python"; then
            command -v "$python"
            return
        fi
    done
    die "no Python 3.11 or newer found; set PYTHON"
}

# What of pyproject.toml the environment depends on: not the settings of the tools.
project() { sed -n '1,/^\[tool\.ruff\]/p' pyproject.toml; }

pip_install() {
    # Hashes are mandatory, so what is installed is what was reviewed; sdists build with the pinned tools of build.txt.
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-input --require-hashes \
        --no-build-isolation --no-deps --prefer-binary "$@" >"$venv/pip.log" 2>&1 || {
        tail -n 20 "$venv/pip.log" >&2
        die "pip failed; the whole log is in $venv/pip.log"
    }
}

pip_project() {
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-input --no-index --no-build-isolation \
        --no-deps --force-reinstall "$@" >"$venv/pip.log" 2>&1 || {
        tail -n 20 "$venv/pip.log" >&2
        die "installing the project failed"
    }
}

fresh_venv() {
    # An environment of another interpreter, or half of one, is not worth repairing.
    if ! "$venv/bin/python" -c 'import pip' 2>/dev/null || [ "$(cat "$venv/.python" 2>/dev/null)" != "$1" ]; then
        say "creating $venv with $python"
        rm -rf "$venv"
        "$python" -m venv "$venv"
        printf '%s\n' "$1" >"$venv/.python"
    fi
}

build_venv() {
    # $1: the requirement file besides build.txt.  One stamp each; dev.txt includes everything in runtime.txt.
    list=requirements/$1.txt
    python=$(find_python)
    version=$("$python" -c 'import sys; print(sys.executable, sys.version.split()[0])')
    stamp=$({ echo "$version"; cat requirements/build.txt requirements/runtime.txt "$list"; project; } | sha256sum)
    # One at a time: two `make` in one checkout must not build one environment.
    exec 9>"$venv.lock"
    flock 9
    [ "$(cat "$venv/.stamp-$1" 2>/dev/null)" = "$stamp" ] && return 0
    fresh_venv "$version"
    rm -f "$venv"/.stamp-*
    say "installing the pinned packages of $list"
    pip_install -r requirements/build.txt
    pip_install -r "$list"
    pip_project --editable .
    if [ "$1" = dev ]; then
        printf '%s\n' "$({ echo "$version"; cat requirements/build.txt requirements/runtime.txt \
            requirements/runtime.txt; project; } | sha256sum)" >"$venv/.stamp-runtime"
    fi
    printf '%s\n' "$stamp" >"$venv/.stamp-$1"
}

bench_venv() {
    # Beside .venv, not in it: nothing that is tested or installed may come to need these.
    python=$(find_python)
    stamp=$({ "$python" -c 'import sys; print(sys.executable, sys.version.split()[0])'; cat requirements/bench.txt; } |
        sha256sum)
    [ "$(cat "$venv/.stamp-bench" 2>/dev/null)" = "$stamp" ] && return 0
    say "building the environment in $venv"
    rm -rf "$venv"
    "$python" -m venv "$venv"
    pip_install -r requirements/bench.txt
    printf '%s\n' "$stamp" >"$venv/.stamp-bench"
}

install_venv() {
    # A copy of the project, not a link to the checkout, and without pip and the build tools.
    python=$(find_python)
    version=$("$python" -c 'import sys; print(sys.executable, sys.version.split()[0])')
    stamp=$({
        echo "$version"
        cat requirements/build.txt requirements/runtime.txt
        project
        find cephmonfs -name '*.py' -print | LC_ALL=C sort | xargs cat
    } | sha256sum)
    [ "$(cat "$venv/.stamp-install" 2>/dev/null)" = "$stamp" ] && return 0
    say "building the environment in $venv"
    rm -rf "$venv"
    "$python" -m venv "$venv"
    pip_install -r requirements/build.txt
    pip_install -r requirements/runtime.txt
    pip_project .
    keep=$(sed -n 's/^\([a-z0-9-]*\)==.*/\1/p' requirements/runtime.txt)
    drop=
    for name in $(sed -n 's/^\([a-z0-9-]*\)==.*/\1/p' requirements/build.txt) pip; do
        case " $(echo $keep) " in *" $name "*) ;; *) drop="$drop $name" ;; esac
    done
    # shellcheck disable=SC2086
    "$venv/bin/python" -m pip uninstall --quiet --yes $drop >"$venv/pip.log" 2>&1 || true
    find "$venv/bin" -type f ! -name 'python*' -delete
    rm -f "$venv/pip.log"
    printf '%s\n' "$stamp" >"$venv/.stamp-install"
}

case $what in
    runtime)
        # shellcheck disable=SC2086
        need_packages $runtime_packages
        build_venv runtime
        ;;
    dev)
        # shellcheck disable=SC2086
        need_packages $runtime_packages $cluster_packages $test_packages
        build_venv dev
        ;;
    cluster)
        # shellcheck disable=SC2086
        need_packages $cluster_packages
        ;;
    bench)
        bench_venv
        ;;
    install)
        # shellcheck disable=SC2086
        need_packages $runtime_packages
        install_venv
        ;;
    *)
        die "usage: tools/setup.sh [runtime|dev|cluster|bench|install]"
        ;;
esac
