#!/bin/sh
# All tests, four at a time.  What failed runs once more, alone, because real daemons may come too late on a busy
# machine; how many that were and their names are the last lines.  SECOND_RUN=no: what failed has failed.
# Arguments are for pytest.
set -u

tmp=$(mktemp -d /tmp/cmfs-test-XXXX) || exit 1
chmod 755 "$tmp" # daemons that gave up their privileges have to get through
pytest=.venv/bin/pytest
failed=.pytest_cache/v/cache/lastfailed

rm -f "$failed" # of this run alone
"$pytest" --basetemp="$tmp/t" -n 4 --dist loadscope --no-loadscope-reorder "$@"
status=$?
names=
if [ "$status" -eq 1 ]; then # tests failed; anything else is no matter of a second run
	names=$(.venv/bin/python -c 'import json, sys; print(*sorted(json.load(open(sys.argv[1]))), sep="\n")' "$failed")
	if [ "${SECOND_RUN:-yes}" = yes ]; then
		"$pytest" --basetemp="$tmp/u" --last-failed --last-failed-no-failures none "$@"
		status=$?
	fi
fi
if [ "$status" -eq 0 ]; then
	rm -rf --one-file-system "$tmp"
else
	echo "what they left is in $tmp"
fi
echo
if [ -z "$names" ]; then
	echo "Tests that needed a second run: 0"
elif [ "${SECOND_RUN:-yes}" = yes ]; then
	echo "Tests that needed a second run: $(echo "$names" | wc -l)"
	echo "$names" | sed 's/^/  /'
fi
exit "$status"
