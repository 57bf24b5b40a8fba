#!/bin/sh
# Write mount.cephmon for an installation: the same file, but for its Python, which is told by path.
#
#   tools/program.sh PYTHON >FILE
set -eu
cd "$(dirname "$0")/.."
PYTHON=$1 awk '
    /^here=\$\(/ { skipping = 1 }
    !skipping { print }
    skipping && /^fi$/ { skipping = 0; print "python=\047" ENVIRON["PYTHON"] "\047" }
' mount.cephmon
