#!/bin/sh
# Prints every figure that the documentation quotes. DuckDB, the bar for the throughput of detect, comes from PyPI into
# .cache/; without Python its part is left out and says so.
set -eu
cd "$(dirname "$0")/.."
mkdir -p .cache/bench
python=
if command -v python3 >/dev/null 2>&1; then
	if [ ! -x .cache/bench/py/bin/python3 ]; then
		python3 -m venv .cache/bench/py && .cache/bench/py/bin/pip install -q duckdb==2.0.0 || rm -rf .cache/bench/py
	fi
	[ -x .cache/bench/py/bin/python3 ] && python=.cache/bench/py/bin/python3
fi
[ -n "$python" ] || echo "no Python with venv here: DuckDB is left out"
go run ./bench -dir .cache/bench -binary bin/minecanary -python "$python" "$@"
echo
echo "== decoders and state (go test -bench)"
go test -run '^$' -bench . -benchmem ./consumer/zeek ./consumer/eve ./consumer/flows ./consumer/files ./enrich/memory ./enrich/score | grep -E 'Benchmark|^cpu' | sort -u
go test -count=1 -run '^TestMemoryPerSuspect$' -v ./enrich/memory | grep 'bytes per suspect'

echo
echo "== what sensors see beside traffic, and the feed"
go run ./bench -sightings -dir .cache/bench -binary bin/minecanary
go test -count=1 -run '^TestNamesAreBounded$' -v ./enrich | grep MB
go test -run '^$' -bench . -benchmem ./enrich ./intel/feed | grep Benchmark

echo
BENCH_BINARY="$PWD/bin/minecanary" go test -count=1 -tags services -timeout 30m -run '^TestProber$' -v ./bench | grep -Ev '^(=== RUN|PASS$)'
go test -run '^$' -bench . ./prober/noise | grep Benchmark

echo
echo "== the catalogue: lookups, flows, names, history, API"
go run ./bench -flows -dir .cache/bench -binary bin/minecanary
go test -run '^$' -bench . -benchmem ./intel/lookup | grep Benchmark
go test -run '^$' -bench Resolve -benchtime 100000x ./intel/resolver | grep Benchmark
go test -run '^$' -bench 'Lookup|Year' -benchtime 1x -timeout 20m ./intel/history | grep -E 'Benchmark|MB'
go test -run '^$' -bench . ./intel/api ./intel/accounts | grep Benchmark

echo
echo "== the distributed way, with real Kafka, Redis and Elasticsearch on two processors"
two=
command -v taskset >/dev/null 2>&1 && [ "$(nproc)" -gt 2 ] && two="taskset -c 0,1"
./test/services.sh
BENCH_BINARY=bin/minecanary BENCH_DIR=.cache/bench
export BENCH_BINARY="$PWD/$BENCH_BINARY" BENCH_DIR="$PWD/$BENCH_DIR"
$two go test -count=1 -tags services -timeout 60m -run '^TestDistributed$' -v ./bench | grep -Ev '^(=== RUN|PASS$)'
go test -count=1 -tags services -timeout 30m -run '^TestMemoryPerSuspect$' -v ./enrich/redis | grep 'per suspect'
