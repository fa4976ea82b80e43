#!/bin/sh
# Fails if a package that reads what others wrote has no fuzz target.
set -eu
cd "$(dirname "$0")/.."
missing=0
for package in \
	. consumer/zeek consumer/eve consumer/flows consumer/jsonscan consumer/recognise consumer/files consumer/decode consumer/sighting \
	consumer/envelope enrich/memory enrich/ndjson enrich/redis enrich/kafka enrich/elasticsearch prober/dialect prober/noise prober/jarm prober/audit prober/asn \
	intel/feed intel/lists intel/catalog intel/importer intel/lookup intel/resolver intel/history intel/accounts intel/changes intel/holds intel/api intel/web \
	cmd/minecanary/config cmd/minecanary/app; do
	if ! grep -qs '^func Fuzz' "$package"/*_test.go; then
		echo "$package: no fuzz target"
		missing=1
	fi
done
exit $missing
