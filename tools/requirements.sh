#!/bin/sh
# Compile the pinned, hashed requirement files from pyproject.toml and build.in.
# Needs `pip-compile` (pip-tools) on PATH.  Arguments go to pip-compile, e.g. `--upgrade`.
set -eu
cd "$(dirname "$0")/.."
compile() {
    pip-compile --quiet --generate-hashes --allow-unsafe --strip-extras --no-header --resolver=backtracking \
        --no-emit-index-url --no-emit-find-links "$@"
}
compile "$@" --extra watch --output-file requirements/runtime.txt pyproject.toml
compile "$@" --constraint requirements/runtime.txt --extra watch --extra dev --output-file requirements/dev.txt pyproject.toml
compile "$@" --output-file requirements/build.txt requirements/build.in
compile "$@" --output-file requirements/bench.txt requirements/bench.in
compile "$@" --output-file requirements/fuzz.txt requirements/fuzz.in
compile "$@" --output-file requirements/audit.txt requirements/audit.in
