#!/bin/sh
# Runs every fuzz target of the module for FUZZTIME each (default 10s), FUZZJOBS of them at the same time (default 1), and
# ends with the number of targets. FUZZONLY, a regular expression, chooses among them.
set -eu
cd "$(dirname "$0")/.."
targets() {
	for file in $(grep -rl --include='*_test.go' '^func Fuzz' . | sort); do
		for target in $(sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\)(.*/\1/p' "$file"); do
			echo "./$(dirname "${file#./}") $target"
		done
	done | grep -E "${FUZZONLY:-.}"
}
# Minimizing an input that only widens coverage may take longer than the run itself, hence -fuzzminimizetime. On a loaded
# machine go test may end with "context deadline exceeded" instead of PASS when the time is up, without a failing input;
# then the target is run again, four times at most.
targets | GO="${GO:-go}" TIME="${FUZZTIME:-10s}" xargs -P "${FUZZJOBS:-1}" -L 1 sh -c '
	for try in 1 2 3 4 5; do
		out=$("$GO" test -run "^\$" -fuzz "^$1\$" -fuzztime "$TIME" -fuzzminimizetime 1s "$0" 2>&1) && ok=1 || ok=0
		case $ok$out in
		1* | *"Failing input"*) break ;;
		*"context deadline exceeded"*) ;;
		*) break ;;
		esac
	done
	printf "== %s %s\n%s\n" "$0" "$1" "$(printf "%s\n" "$out" | if [ $ok = 1 ]; then tail -3; else cat; fi)"
	[ $ok = 1 ] || exit 255
'
echo "$(targets | wc -l) passed, 0 failed"
