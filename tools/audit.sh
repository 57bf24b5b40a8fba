#!/bin/sh
# `make audit`: static analysis, known holes of what we depend on, a bill of materials.  Needs PyPI for its own tools
# (pinned in requirements/audit.txt), kept in .venv/audit, and for the data base that pip-audit asks.
set -eu
cd "$(dirname "$0")/.."
venv=.venv/audit
say() { printf 'audit: %s\n' "$*" >&2; }

if [ "$(cat "$venv/.stamp" 2>/dev/null)" != "$(sha256sum <requirements/audit.txt)" ]; then
    rm -rf "$venv"
    "${PYTHON:-/usr/bin/python3}" -m venv "$venv"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps \
        -r requirements/audit.txt
    sha256sum <requirements/audit.txt >"$venv/.stamp"
fi

status=0
say "bandit: medium and high (the low ones are listed in docs/security.md)"
"$venv/bin/bandit" --quiet --recursive -ll cephmonfs || status=1

say "bill of materials: build/sbom.cdx.json"
mkdir -p build
PYTHONWARNINGS=ignore "$venv/bin/cyclonedx-py" requirements --pyproject pyproject.toml --mc-type application \
    --output-reproducible --of JSON -o build/sbom.cdx.json requirements/runtime.txt

say "pip-audit"
for list in runtime build; do
    log=build/pip-audit-$list.log
    if "$venv/bin/pip-audit" --progress-spinner off --require-hashes --disable-pip -r "requirements/$list.txt" \
        >"$log" 2>&1; then
        skipped=$(grep -c 'could not be audited' "$log" || true)
        pinned=$(grep -c '^[a-z0-9-]*==' "requirements/$list.txt")
        say "$list: no known holes ($((pinned - skipped)) of $pinned packages looked up)"
        [ "$skipped" != "$pinned" ] || say "$list: the data base was not reached, so this says nothing"
    else
        cat "$log" >&2
        status=1
    fi
done
exit $status
