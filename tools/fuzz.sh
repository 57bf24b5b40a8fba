#!/bin/sh
# `make fuzz`: RUNS mutated recordings, then every prefix and bit flip of a share of them; `guided`: by coverage.
set -eu
cd "$(dirname "$0")/.."
runs=${1:-1000000}
if [ "${2:-}" = guided ]; then
    .venv/bin/python -c 'import atheris' 2>/dev/null ||
        .venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps \
            -r requirements/fuzz.txt
    for target in $(.venv/bin/python -c 'from tests.fuzz.targets import targets; print(*targets())'); do
        mkdir -p "build/fuzz/$target"
        .venv/bin/python -m tests.fuzz.guided "$target" -runs="$runs" -max_len=8192 -timeout=20 -rss_limit_mb=2000 \
            -verbosity=0 -print_final_stats=1 "build/fuzz/$target"
    done
    exit 0
fi
.venv/bin/python -m tests.fuzz.run --runs "$runs" --seed "$(date +%s)" --out build/fuzz/findings
.venv/bin/python -m tests.fuzz.every --part "$(($(date +%s) % 97))/97" --out build/fuzz/findings
