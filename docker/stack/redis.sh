#!/bin/bash
# Real Redis (Debian redis-server 7.0, or valkey-server of bookworm-backports with REDIS_BIN=valkey-server), loopback only.
#   redis.sh start single             one server on REDIS_PORT
#   redis.sh start cluster            three masters on REDIS_PORT..+2 (cluster bus at port+10000), slots assigned
#   redis.sh start sentinel           master + replica + three sentinels (master name "mymaster"; sentinels at REDIS_PORT+20000..)
#   redis.sh stop | status | kill-node NAME | start-node NAME   (NAME: single, node0..2, master, replica, sentinel0..2)
# Environment: REDIS_PORT (6379) REDIS_DATA (/tmp/stack-redis) REDIS_BIN (redis-server) REDIS_CLI (redis-cli)
set -euo pipefail
PORT=${REDIS_PORT:-6379}; DATA=${REDIS_DATA:-/tmp/stack-redis}; BIN=${REDIS_BIN:-redis-server}; CLI=${REDIS_CLI:-redis-cli}
command -v "$BIN" >/dev/null || { echo "no $BIN: apt-get install -y --no-install-recommends redis-server" >&2; exit 1; }
cli() { "$CLI" -h 127.0.0.1 -p "$@"; }
up() { # name port extra...
  local n=$1 p=$2; shift 2; mkdir -p "$DATA/$n"
  printf '%s\n' "bind 127.0.0.1" "port $p" "dir $DATA/$n" "daemonize no" 'save ""' "appendonly no" "protected-mode yes" "$@" >"$DATA/$n/redis.conf"
  setsid "$BIN" "$DATA/$n/redis.conf" ${SENT:-} >"$DATA/$n/out.log" 2>&1 </dev/null &
  echo $! >"$DATA/$n/pid"
  for _ in $(seq 200); do [ "$(cli $p ping 2>/dev/null)" = PONG ] && return; kill -0 "$(cat "$DATA/$n/pid")" 2>/dev/null || break; sleep 0.05; done
  echo "$n did not start" >&2; tail -5 "$DATA/$n/out.log" >&2; return 1
}
case "${1:-} ${2:-}" in
"start single") t0=$(date +%s%N); up single $PORT; echo "redis ready in $(( ($(date +%s%N)-t0)/1000000 )) ms: 127.0.0.1:$PORT" ;;
"start cluster")
  t0=$(date +%s%N)
  for i in 0 1 2; do up node$i $((PORT+i)) "cluster-enabled yes" "cluster-config-file nodes.conf" "cluster-node-timeout 2000" "cluster-announce-ip 127.0.0.1"; done
  if ! cli $PORT cluster info | grep -q cluster_state:ok; then
    cli $PORT --cluster create 127.0.0.1:$PORT 127.0.0.1:$((PORT+1)) 127.0.0.1:$((PORT+2)) --cluster-replicas 0 --cluster-yes >"$DATA/create.log"
  fi
  for i in 0 1 2; do for _ in $(seq 200); do cli $((PORT+i)) cluster info | grep -q cluster_state:ok && break; sleep 0.05; done; done
  echo "redis cluster ready in $(( ($(date +%s%N)-t0)/1000000 )) ms: 127.0.0.1:$PORT-$((PORT+2))" ;;
"start sentinel")
  t0=$(date +%s%N)
  up master $PORT; up replica $((PORT+1)) "replicaof 127.0.0.1 $PORT" "repl-diskless-sync-delay 0"
  for i in 0 1 2; do SENT=--sentinel up sentinel$i $((PORT+20000+i)) "sentinel monitor mymaster 127.0.0.1 $PORT 2" \
    "sentinel down-after-milliseconds mymaster 1000" "sentinel failover-timeout mymaster 5000"; done
  for _ in $(seq 200); do
    r=$(cli $((PORT+20000)) sentinel master mymaster | paste - - | awk '$1=="num-slaves"||$1=="num-other-sentinels"{printf "%s ",$2}'); [ "$r" = "1 2 " ] && break; sleep 0.1; done
  echo "redis sentinel ready in $(( ($(date +%s%N)-t0)/1000000 )) ms: sentinels 127.0.0.1:$((PORT+20000))-$((PORT+20002)), master mymaster" ;;
"stop ") for p in "$DATA"/*/pid; do [ -f "$p" ] && { kill "$(cat "$p")" 2>/dev/null || true; }; done
  for p in "$DATA"/*/pid; do [ -f "$p" ] || continue; for _ in $(seq 100); do kill -0 "$(cat "$p")" 2>/dev/null || break; sleep 0.05; done; rm -f "$p"; done; echo stopped ;;
"kill-node "*) kill -9 "$(cat "$DATA/$2/pid")" ;;
"start-node "*) # as it was configured; what was in memory is gone
  p=$(awk '$1=="port"{print $2}' "$DATA/$2/redis.conf")
  setsid "$BIN" "$DATA/$2/redis.conf" >>"$DATA/$2/out.log" 2>&1 </dev/null &
  echo $! >"$DATA/$2/pid"
  for _ in $(seq 200); do case "$(cli "$p" ping 2>/dev/null)" in PONG*) exit 0 ;; esac; sleep 0.05; done
  echo "$2 did not start" >&2; tail -5 "$DATA/$2/out.log" >&2; exit 1 ;;
"status ") for p in "$DATA"/*/pid; do [ -f "$p" ] && awk -v n="$p" '/VmRSS/{printf "%s rss %.1f MiB\n",n,$2/1024}' /proc/"$(cat "$p")"/status || true; done ;;
*) sed -n 2,7p "$0"; exit 2 ;;
esac
