#!/usr/bin/env bash
# Has readers that are not ours read the feed: Suricata, BIND's named-checkzone, and stix2 and pymisp from PyPI in a folder
# that goes away again. As root on Debian it installs what is missing; it needs python3 with venv. Zeek 8 reads it too if
# zeek is in PATH; Debian has none to install.
set -euo pipefail
cd "$(dirname "$0")/.."
stix2=3.0.2
pymisp=2.5.34.4

./test/suricata.sh
export PATH="$PATH:/usr/sbin"
if ! command -v named-checkzone >/dev/null 2>&1; then
	if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
		echo "the feed's tests need named-checkzone (Debian: bind9-utils)" >&2
		exit 1
	fi
	export DEBIAN_FRONTEND=noninteractive
	# Lists that are old, or of another mirror, may still do.
	apt-get -qq -o DPkg::Lock::Timeout=300 update || true
	apt-get -qq -o DPkg::Lock::Timeout=300 install -y --no-install-recommends bind9-utils
fi

if ! command -v zeek >/dev/null 2>&1; then
	echo "no zeek in PATH: TestForeignZeek* will be skipped"
fi

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet --disable-pip-version-check "stix2==$stix2" "pymisp==$pymisp"
FEED_READERS=1 FEED_PYTHON="$dir/venv/bin/python" "${GO:-go}" test -count=1 -timeout 10m -run '^TestForeign' -v ./intel/feed
