#!/bin/sh
# Runs every fuzz target of the module for FUZZTIME each (default 10s), FUZZJOBS of them at the same time (default 1), and
# ends with the number of targets.
set -eu
cd "$(dirname "$0")/.."
go=${GO:-go}
time=${FUZZTIME:-10s}
jobs=${FUZZJOBS:-1}
targets() {
	for file in $(grep -rl --include='*_test.go' '^func Fuzz' . | sort); do
		for target in $(sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\)(.*/\1/p' "$file"); do
			echo "./$(dirname "${file#./}") $target"
		done
	done
}
# Minimizing an input that only widens coverage may take longer than the run itself.
targets | GO="$go" TIME="$time" xargs -P "$jobs" -L 1 sh -c '
	out=$("$GO" test -run "^\$" -fuzz "^$1\$" -fuzztime "$TIME" -fuzzminimizetime 1s "$0" 2>&1) && ok=1 || ok=0
	printf "== %s %s\n%s\n" "$0" "$1" "$(printf "%s\n" "$out" | if [ $ok = 1 ]; then tail -2; else cat; fi)"
	[ $ok = 1 ] || exit 255
'
echo "$(targets | wc -l) passed, 0 failed"
