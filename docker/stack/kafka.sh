#!/bin/bash
# Real Apache Kafka (KRaft, combined broker+controller) from Maven artifacts, loopback only.
#   kafka.sh start [nodes=1]   start N brokers, wait until all are registered
#   kafka.sh stop              stop every broker started by this script (by recorded pid)
#   kafka.sh kill-node ID      kill -9 one broker (failover tests)
#   kafka.sh start-node ID     start that broker again
#   kafka.sh status
# Environment: KAFKA_VERSION (4.3.1) KAFKA_DATA (/tmp/stack-kafka) KAFKA_PORT (9092: broker i listens on PORT+10*(i-1))
#              KAFKA_HEAP (-Xms256m -Xmx512m) KAFKA_REQUEST_MAX (268435456: largest request; a topic's max.message.bytes
#              may be raised up to it)
#              KAFKA_SECURITY (plaintext | sasl_plaintext | sasl_ssl | ssl) of the clients' listener; brokers among
#              themselves stay plain, on PORT+2. SASL knows one user, KAFKA_USER (canary) with KAFKA_PASSWORD (song), by
#              PLAIN, SCRAM-SHA-256 and SCRAM-SHA-512. TLS: a certificate for 127.0.0.1 and localhost is made, put
#              into ca.pem in KAFKA_CERTS (KAFKA_DATA) for the clients; with KAFKA_CLIENT_CA (a PEM file) clients must show a certificate signed by it.
set -euo pipefail
HERE=$(cd "$(dirname "$0")" && pwd)
V=${KAFKA_VERSION:-4.3.1}
DATA=${KAFKA_DATA:-/tmp/stack-kafka}
PORT=${KAFKA_PORT:-9092}
HEAP=${KAFKA_HEAP:--Xms256m -Xmx512m}
REQUEST_MAX=${KAFKA_REQUEST_MAX:-268435456}
SECURITY=${KAFKA_SECURITY:-plaintext}
KUSER=${KAFKA_USER:-canary}
KPASSWORD=${KAFKA_PASSWORD:-song}
CERTS=${KAFKA_CERTS:-$DATA}
CACHE=${STACK_CACHE:-/var/tmp/minecanary-stack}; mkdir -p "$CACHE"
LIB=$CACHE/kafka-$V
JAVA=${JAVA_HOME:+$JAVA_HOME/bin/}java
CLUSTER_ID=MkU3OEVBNTcwNTJENDM2Qg
# C1 only + serial GC + class data sharing: least start-up CPU on a small machine
JOPT="$HEAP -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -XX:+ExitOnOutOfMemoryError -Djava.awt.headless=true
 -Dorg.slf4j.simpleLogger.defaultLogLevel=warn -Dorg.slf4j.simpleLogger.log.kafka.server=info -Dorg.slf4j.simpleLogger.showDateTime=true -Dorg.slf4j.simpleLogger.showThreadName=false"

bport() { echo $((PORT + 10 * ($1 - 1))); }      # broker listener
iport() { echo $((PORT + 10 * ($1 - 1) + 2)); }  # listener among brokers, if clients need security
cport() { echo $((PORT + 10 * ($1 - 1) + 1)); }  # controller listener

fetch() {
  [ -f "$LIB/kafka_2.13-$V.jar" ] && ls "$LIB"/slf4j-simple-*.jar >/dev/null 2>&1 && return
  (cd "$HERE/kafka" && mvn -q -B -ntp -Dkafka.version="$V" dependency:copy-dependencies \
      -DincludeScope=runtime -DoutputDirectory="$LIB")
}

jopts() { # CDS archive per version, made on the first start
  local a=$LIB/kafka.jsa
  if [ -f "$a" ]; then echo "-XX:SharedArchiveFile=$a -Xshare:auto"
  elif [ "${1:-}" = dump ] && [ ! -f "$a.tmp" ]; then echo "-XX:ArchiveClassesAtExit=$a.tmp"; fi
}

config() { # id n
  local i=$1 n=$2 voters="" j
  for ((j = 1; j <= n; j++)); do voters+="${voters:+,}$j@127.0.0.1:$(cport $j)"; done
  local rf=$((n < 3 ? n : 3)) isr=$((n < 3 ? 1 : 2))
  mkdir -p "$DATA/$i"
  cat > "$DATA/$i/server.properties" <<P
process.roles=broker,controller
node.id=$i
controller.quorum.voters=$voters
listeners=PLAINTEXT://127.0.0.1:$(bport $i),CONTROLLER://127.0.0.1:$(cport $i)
advertised.listeners=PLAINTEXT://127.0.0.1:$(bport $i)
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=PLAINTEXT
controller.listener.names=CONTROLLER
log.dirs=$DATA/$i/log
num.partitions=1
default.replication.factor=$rf
min.insync.replicas=$isr
offsets.topic.replication.factor=$rf
offsets.topic.num.partitions=3
transaction.state.log.replication.factor=$rf
transaction.state.log.min.isr=$isr
transaction.state.log.num.partitions=3
share.coordinator.state.topic.replication.factor=$rf
share.coordinator.state.topic.min.isr=$isr
share.coordinator.state.topic.num.partitions=3
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
broker.session.timeout.ms=6000
broker.heartbeat.interval.ms=1000
controller.quorum.election.timeout.ms=1000
controller.quorum.fetch.timeout.ms=2000
auto.create.topics.enable=false
log.cleaner.enable=true
log.cleaner.backoff.ms=1000
log.cleaner.dedupe.buffer.size=4194304
log.retention.check.interval.ms=5000
log.initial.task.delay.ms=500
num.network.threads=2
num.io.threads=2
num.recovery.threads.per.data.dir=1
background.threads=2
socket.request.max.bytes=$REQUEST_MAX
P
  [ "$SECURITY" = plaintext ] || secure "$i" >>"$DATA/$i/server.properties"
}

secure() { # id: properties that replace those above them
  local i=$1 prefix=listener.name.client module=org.apache.kafka.common.security
  cat <<P
listeners=CLIENT://127.0.0.1:$(bport $i),INTERNAL://127.0.0.1:$(iport $i),CONTROLLER://127.0.0.1:$(cport $i)
advertised.listeners=CLIENT://127.0.0.1:$(bport $i),INTERNAL://127.0.0.1:$(iport $i)
listener.security.protocol.map=CLIENT:${SECURITY^^},INTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=INTERNAL
P
  case $SECURITY in sasl_*) cat <<P
sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512
$prefix.plain.sasl.jaas.config=$module.plain.PlainLoginModule required user_$KUSER="$KPASSWORD";
$prefix.scram-sha-256.sasl.jaas.config=$module.scram.ScramLoginModule required;
$prefix.scram-sha-512.sasl.jaas.config=$module.scram.ScramLoginModule required;
P
  esac
  case $SECURITY in *ssl)
    if [ ! -f "$CERTS/server.p12" ]; then
      keytool -genkeypair -alias broker -keyalg EC -groupname secp256r1 -validity 30 -dname CN=localhost \
        -ext SAN=ip:127.0.0.1,dns:localhost -storetype PKCS12 -keystore "$CERTS/server.p12" -storepass changeit >"$CERTS/keytool.out" 2>&1
      keytool -exportcert -rfc -alias broker -keystore "$CERTS/server.p12" -storepass changeit >"$CERTS/ca.pem" 2>>"$CERTS/keytool.out"
    fi
    cat <<P
$prefix.ssl.keystore.type=PKCS12
$prefix.ssl.keystore.location=$CERTS/server.p12
$prefix.ssl.keystore.password=changeit
$prefix.ssl.key.password=changeit
P
    [ -z "${KAFKA_CLIENT_CA:-}" ] || cat <<P
$prefix.ssl.client.auth=required
$prefix.ssl.truststore.type=PEM
$prefix.ssl.truststore.location=$KAFKA_CLIENT_CA
P
  esac
}

start_node() { # id
  local i=$1 cp="$LIB/*"
  if [ ! -f "$DATA/$i/log/meta.properties" ]; then
    $JAVA -Xmx128m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -cp "$cp" kafka.tools.StorageTool format \
      -t $CLUSTER_ID -c "$DATA/$i/server.properties" \
      --add-scram "SCRAM-SHA-256=[name=$KUSER,password=$KPASSWORD]" --add-scram "SCRAM-SHA-512=[name=$KUSER,password=$KPASSWORD]" \
      >"$DATA/$i/format.out" 2>&1 || { cat "$DATA/$i/format.out" >&2; return 1; }
  fi
  KAFKA_OPTS= setsid $JAVA $JOPT $(jopts $([ "$i" = 1 ] && echo dump)) -cp "$cp" kafka.Kafka "$DATA/$i/server.properties" >>"$DATA/$i/out.log" 2>&1 </dev/null &
  echo $! >"$DATA/$i/pid"
}

wait_node() { # id seconds
  local i=$1 end=$((SECONDS + $2)) pid; pid=$(cat "$DATA/$i/pid")
  until grep -qE 'Kafka Server started|from STARTING to STARTED' "$DATA/$i/out.log" 2>/dev/null \
     && (exec 3<>/dev/tcp/127.0.0.1/$(bport $i)) 2>/dev/null; do
    kill -0 "$pid" 2>/dev/null || { echo "broker $i died:" >&2; tail -20 "$DATA/$i/out.log" >&2; return 1; }
    [ $SECONDS -lt $end ] || { echo "broker $i not ready" >&2; return 1; }
    sleep 0.1
  done
}

case "${1:-}" in
start)
  fetch; n=${2:-1}; mkdir -p "$DATA"
  t0=$(date +%s%N)
  for ((i = 1; i <= n; i++)); do config $i $n; : >"$DATA/$i/out.log"; start_node $i; done
  for ((i = 1; i <= n; i++)); do wait_node $i 180; done
  echo "kafka $V x$n ready in $(( ($(date +%s%N) - t0) / 1000000 )) ms: $(for ((i = 1; i <= n; i++)); do printf '127.0.0.1:%s ' $(bport $i); done)" ;;
start-node) : >"$DATA/$2/out.log"; start_node "$2"; wait_node "$2" 120 ;;
kill-node) kill -9 "$(cat "$DATA/$2/pid")" ;;
stop)
  for p in "$DATA"/*/pid; do [ -f "$p" ] && kill "$(cat "$p")" 2>/dev/null || true; done
  for p in "$DATA"/*/pid; do
    [ -f "$p" ] || continue; pid=$(cat "$p")
    for _ in $(seq 600); do kill -0 "$pid" 2>/dev/null || break; sleep 0.1; done
    kill -9 "$pid" 2>/dev/null || true; rm -f "$p"
  done
  [ -f "$LIB/kafka.jsa.tmp" ] && mv "$LIB/kafka.jsa.tmp" "$LIB/kafka.jsa" || true
  echo stopped ;;
status)
  for p in "$DATA"/*/pid; do [ -f "$p" ] || continue; pid=$(cat "$p")
    awk -v p="$p" -v pid="$pid" '/VmRSS/{r=$2}/VmHWM/{h=$2}END{printf "%s pid %s rss %d MiB peak %d MiB\n",p,pid,r/1024,h/1024}' /proc/$pid/status 2>/dev/null || echo "$p dead"
    awk '{printf "  cpu %.1f s\n",($14+$15)/100}' /proc/$pid/stat 2>/dev/null || true
  done ;;
*) sed -n 2,16p "$0"; exit 2 ;;
esac
