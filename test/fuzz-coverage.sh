#!/bin/sh
# Fails if a package that reads what others wrote has no fuzz target.
set -eu
cd "$(dirname "$0")/.."
missing=0
for package in \
	. consumer/zeek consumer/eve consumer/jsonscan consumer/recognise consumer/files consumer/decode \
	consumer/envelope enrich/memory enrich/ndjson enrich/redis enrich/kafka enrich/elasticsearch prober/dialect prober/noise prober/audit intel/feed intel/lists \
	cmd/minecanary/config cmd/minecanary/app; do
	if ! grep -qs '^func Fuzz' "$package"/*_test.go; then
		echo "$package: no fuzz target"
		missing=1
	fi
done
exit $missing
