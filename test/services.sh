#!/usr/bin/env bash
# Makes sure that what the tests with real services need is there: Java 17 and Maven (Kafka and Elasticsearch come as
# Maven artifacts), redis-server with redis-cli, kcat, curl, ip, Chromium (for the pages) and Python with venv (for what
# comes from PyPI). As root on Debian or Ubuntu it installs what is missing. Suricata has a script of its own.
set -euo pipefail

"$(dirname "$0")/suricata.sh"

declare -A package=([java]=openjdk-17-jre-headless [mvn]=maven [redis-server]=redis-server [redis-cli]=redis-tools [kcat]=kcat [curl]=curl [setpriv]=util-linux [ip]=iproute2 [chromium]=chromium)
missing=()
for tool in "${!package[@]}"; do
	command -v "$tool" >/dev/null 2>&1 || missing+=("${package[$tool]}")
done
python3 -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3 python3-venv)
[ ${#missing[@]} -gt 0 ] || exit 0
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
	echo "the tests with real services need: ${missing[*]}" >&2
	exit 1
fi
export DEBIAN_FRONTEND=noninteractive
# A package must not start a server of its own.
if [ ! -e /usr/sbin/policy-rc.d ]; then
	printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
	chmod +x /usr/sbin/policy-rc.d
	trap 'rm -f /usr/sbin/policy-rc.d' EXIT
fi
apt-get update -qq
apt-get install -y -qq --no-install-recommends "${missing[@]}"
