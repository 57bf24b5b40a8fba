"""The measuring program behind `make soak`.

python -m tests.reliability run [--only NAME,...] [--calls N] --out FILE     measure; JSON
python -m tests.reliability report FILE                                      docs/reliability.md on stdout
"""

from __future__ import annotations

import argparse
import sys


def main() -> None:
    parser = argparse.ArgumentParser(prog="tests.reliability", description="Faults, measured side by side.")
    sub = parser.add_subparsers(dest="what", required=True)
    run = sub.add_parser("run", help="measure")
    run.add_argument("--only", default="", help="names of scenarios, with commas")
    run.add_argument("--calls", type=int, default=100_000, help="of the long run with socket failures")
    run.add_argument("--release", default="pacific")
    run.add_argument("--out", required=True)
    report = sub.add_parser("report", help="the document")
    report.add_argument("file")
    options = parser.parse_args()
    if options.what == "run":
        from tests.reliability.scenarios import run_all

        sys.exit(run_all(options.out, set(filter(None, options.only.split(","))), options.release, options.calls))
    from tests.reliability.report import document

    print(document(options.file), end="")


if __name__ == "__main__":
    main()
