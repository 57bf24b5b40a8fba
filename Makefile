# cephmonfs.  `make` alone tells what there is.

SHELL := /bin/sh
PREFIX ?= /opt/cephmonfs
DESTDIR ?=
SBINDIR ?= /sbin
BINDIR ?= /usr/local/bin
MANDIR ?= /usr/local/share/man
MNT ?= ./mnt
RELEASE ?= pacific
DIR ?= ./cluster
PYTEST_ARGS ?=
BENCH_ARGS ?=
BIN := .venv/bin

.PHONY: help venv demo test soak killed lint types unit bench bench-docs install uninstall cluster cluster-down requirements docs dist deb test-packages test-systemd test-truth compatibility clean fuzz audit security-table

help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 22

venv:  ## .venv with everything for development, and the Debian packages it needs
	@tools/setup.sh dev

demo:  ## mount the embedded monitors at MNT (./mnt) and look around; umount ends it
	@tools/setup.sh runtime
	@mountpoint -q "$(MNT)" || { mkdir -p "$(MNT)" && ./mount.cephmon demo: "$(MNT)"; }
	@echo '$$ df -h $(MNT)'; df -h "$(MNT)"
	@echo; echo '$$ cat $(MNT)/status'; cat "$(MNT)/status"
	@echo; echo '$$ ls -RC $(MNT)'; cd "$(MNT)" && ls -RC -w 110
	@echo; echo 'It stays mounted: look at $(MNT)/README, and end it with  umount $(MNT)'

test: venv lint types unit  ## what CI runs: lint, types, all tests but the soak; SECOND_RUN=no: none for what failed

SECOND_RUN ?= yes
unit:
	@tools/cluster chroots >.venv/chroots.log
	@SECOND_RUN="$(SECOND_RUN)" tools/test.sh $(PYTEST_ARGS)

SOAK_OUT ?= soak.json
soak: venv  ## faults of real monitors beside ceph-fuse and librados, 40 minutes, root: SOAK_OUT=soak.json ONLY=
	@tools/setup.sh cluster
	@$(BIN)/python -m tests.reliability run --only "$(ONLY)" --out "$(SOAK_OUT)"
	@$(BIN)/python -m tests.reliability report "$(SOAK_OUT)" >docs/reliability.md

CALLERS ?= 100000
killed: venv  ## kill CALLERS (100000) callers of a mount at the wrong moment, and look at its loop after each; ten minutes
	@CEPHMONFS_KILLED=$(CALLERS) $(BIN)/pytest --soak -q -s -p no:xdist -o faulthandler_timeout=0 $(PYTEST_ARGS) tests/fuse/test_killed.py

lint: venv  ## format, lint, layers, and that tests mirror modules
	@$(BIN)/ruff format --check --quiet . || { $(BIN)/ruff format --check .; exit 1; }
	@$(BIN)/ruff check --quiet .
	@$(BIN)/lint-imports --no-cache >.venv/lint-imports.log 2>&1 || { cat .venv/lint-imports.log; exit 1; }
	@$(BIN)/codespell
	@$(BIN)/python tools/mirror.py

types: venv  ## mypy, strict
	@$(BIN)/mypy --no-error-summary

bench: venv  ## beside ceph-fuse and librados, as a table; BENCH_ARGS=--quick takes a minute, --help lists more
	@$(BIN)/python -m bench table $(BENCH_ARGS)

bench-docs: venv  ## the same at length, with growth, profile and plots, into docs/benchmarks.md; half an hour
	@VENV=build/bench/venv tools/setup.sh bench
	@for part in table growth breakdown profile; do $(BIN)/python -m bench $$part || exit; done
	@build/bench/venv/bin/python -m bench docs

install:  ## mount.cephmon, cephmonfs and cephmon for the whole machine, under PREFIX (/opt/cephmonfs)
	@PREFIX="$(PREFIX)" DESTDIR="$(DESTDIR)" SBINDIR="$(SBINDIR)" BINDIR="$(BINDIR)" MANDIR="$(MANDIR)" tools/install.sh install

uninstall:  ## remove what install put there
	@PREFIX="$(PREFIX)" DESTDIR="$(DESTDIR)" SBINDIR="$(SBINDIR)" BINDIR="$(BINDIR)" MANDIR="$(MANDIR)" tools/install.sh uninstall

cluster:  ## a real throw-away Ceph cluster: RELEASE=nautilus|pacific|reef|tentacle DIR=./cluster
	@tools/setup.sh cluster
	@tools/cluster up --release "$(RELEASE)" --dir "$(DIR)"

cluster-down:  ## end the cluster in DIR
	@tools/cluster down --dir "$(DIR)"

RUNS ?= 1000000

fuzz:  ## throw RUNS (1000000) damaged inputs at everything that reads what monitors send; GUIDED=1: by coverage (atheris)
	@tools/fuzz.sh "$(RUNS)" $(if $(GUIDED),guided)

audit:  ## bandit, pip-audit, and a bill of materials in build/sbom.cdx.json
	@tools/audit.sh

security-table:  ## write the table of docs/security.md anew from the tests
	@$(BIN)/python -m tests.security.published

requirements:  ## compile requirements/*.txt anew from pyproject.toml (wants pip-tools on PATH)
	@tools/requirements.sh

docs: venv  ## manual pages (man/, build/html/) and the tables in docs/ that are made from the code
	@$(BIN)/python tools/docs.py

dist: venv  ## wheel and sdist in dist/
	@tools/package.sh dist

deb:  ## a Debian package, on the distribution's own Python packages, in dist/
	@tools/package.sh deb

test-packages: dist deb  ## install them in fresh Debian 12 and 13 roots and mount there (slow)
	@CEPHMONFS_TEST_PACKAGES=1 $(BIN)/pytest -v -o faulthandler_timeout=0 $(PYTEST_ARGS) tests/packaging

test-systemd: deb  ## boot Debian 12 and 13 as containers, with the .deb under their systemd (slow, root)
	@CEPHMONFS_TEST_PACKAGES=1 $(BIN)/pytest -v -o faulthandler_timeout=0 $(PYTEST_ARGS) tests/packaging/test_systemd.py

MINUTES ?= 10
SEED ?=

test-truth: venv  ## random events on a real cluster, all files beside the real programs: RELEASE= MINUTES=10 SEED= (root)
	@tools/setup.sh cluster
	@$(BIN)/python -m tests.truth --release "$(RELEASE)" --minutes "$(MINUTES)" $(if $(SEED),--seed "$(SEED)")

compatibility: venv  ## docs/compatibility.md from a run of the whole matrix
	@tools/cluster chroots >.venv/chroots.log
	@CEPHMONFS_COMPATIBILITY=docs/compatibility.md $(BIN)/pytest -q tests/cluster/test_matrix.py

clean:  ## remove caches and .venv
	@rm -rf .venv .venv.lock .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage htmlcov build dist
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
