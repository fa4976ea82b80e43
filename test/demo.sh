#!/bin/sh
# Runs the demo as `make run` does and holds it to what it promises: six confirmed miners, nobody else, feed and audit
# trail shown, within 60 seconds, and nothing left behind.
set -eu
cd "$(dirname "$0")/.."
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
mkdir "$tmp/scratch"
began=$(date +%s)
TMPDIR="$tmp/scratch" ./bin/minecanary demo >"$tmp/out" 2>"$tmp/err"
took=$(($(date +%s) - began))
fail() {
	echo "demo: $1"
	cat "$tmp/out" "$tmp/err"
	echo "0 passed, 1 failed"
	exit 1
}
[ "$took" -le 60 ] || fail "took $took s"
[ "$(grep -c '^CONFIRMED' "$tmp/out")" = 6 ] || fail "not six confirmed miners"
for client in 10 12 15 17 18 19; do
	grep -q "^CONFIRMED  10\.20\.1\.$client -> 127\.20\.0\.$client:" "$tmp/out" || fail "10.20.1.$client is not confirmed"
done
! grep -q '^SUSPECTED\|^KNOWN' "$tmp/out" || fail "ordinary traffic is reported"
grep -q '127.20.0.15.*Intel::ADDR' "$tmp/out" || fail "no Intel feed"
grep -q '127.20.0.19.*3443/tcp' "$tmp/out" || fail "no pools feed"
grep -q '"event":"connection"' "$tmp/out" || fail "no audit record"
[ -z "$(ls -A "$tmp/scratch")" ] || fail "left behind: $(ls -A "$tmp/scratch")"
fetch() { curl -sf "$1" 2>/dev/null || wget -qO- "$1"; }
# With --serve, and so on a terminal, the pages stay up until it is interrupted.
TMPDIR="$tmp/scratch" ./bin/minecanary demo --serve >"$tmp/out" 2>"$tmp/err" &
demo=$!
page=
for _ in $(seq 60); do
	page=$(sed -n 's/^  The pages: \(http[^ ]*\) .*/\1/p' "$tmp/out")
	[ -z "$page" ] || break
	kill -0 $demo 2>/dev/null || break
	sleep 1
done
[ -n "$page" ] || fail "no pages"
fetch "$page?q=127.20.0.15" >"$tmp/page" && grep -q confirmed "$tmp/page" || fail "the pages do not know the demo's pool"
fetch "${page}api/v1/lookup?q=pool.supportxmr.com" | grep -q '"known":true' || fail "the API does not know a pool"
kill -INT $demo
wait $demo || fail "interrupted, it failed with $?"
[ -z "$(ls -A "$tmp/scratch")" ] || fail "left behind: $(ls -A "$tmp/scratch")"
echo "demo took $took s"
echo "1 passed, 0 failed"
