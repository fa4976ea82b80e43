#!/usr/bin/env bash
# Makes sure that Suricata 7 or newer is there, with suricatasc. As root on Debian it installs it: from the release the
# machine runs if that has it, else from its backports, on the mirror and with the keys of the machine's own sources.
set -euo pipefail

# The major version of a Suricata, 0 for none.
major() {
	local v=${1#*:}
	v=${v%%[!0-9]*}
	echo "${v:-0}"
}
have() { suricata -V 2>/dev/null | sed -n 's/.*version \([0-9].*\)/\1/p'; }
[ "$(major "$(have)")" -lt 7 ] || exit 0

if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
	echo "the tests with Suricata need version 7 or newer (on Debian 12 from its backports)" >&2
	exit 1
fi
export DEBIAN_FRONTEND=noninteractive
source=/etc/apt/sources.list.d/minecanary-test-backports.sources
cleanup=()
trap '[ ${#cleanup[@]} = 0 ] || rm -f "${cleanup[@]}"' EXIT
# The package must not start a server of its own.
if [ ! -e /usr/sbin/policy-rc.d ]; then
	printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
	chmod +x /usr/sbin/policy-rc.d
	cleanup+=(/usr/sbin/policy-rc.d)
fi

# Others on the machine may hold apt's locks: that of its lists has no timeout of its own.
apt() {
	local try
	for try in 1 2 3; do
		apt-get -qq -o DPkg::Lock::Timeout=300 "$@" && return
		echo "apt-get $1: try $try of 3 failed" >&2
		sleep 10
	done
	return 1
}
candidate() { apt-cache policy suricata "$@" | sed -n 's/^ *Candidate: *//p'; }

apt update
release=()
if [ "$(major "$(candidate)")" -lt 7 ]; then
	codename=$(. /etc/os-release && echo "$VERSION_CODENAME")
	if ! apt-get indextargets --format '$(CODENAME)' 'Created-By: Packages' | grep -qx "$codename-backports"; then
		mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' "Codename: $codename" 'Origin: Debian' 'Component: main' | sed -n 1p)
		if [ -z "$mirror" ]; then
			echo "none of apt's sources has Debian $codename: install Suricata 7 or newer by hand" >&2
			exit 1
		fi
		cleanup+=("$source")
		{
			printf 'Types: deb\nURIs: %s\nSuites: %s-backports\nComponents: main\n' "$mirror" "$codename"
			keys=/usr/share/keyrings/debian-archive-keyring.gpg
			[ ! -e "$keys" ] || printf 'Signed-By: %s\n' "$keys"
		} >"$source"
		apt update
	fi
	release=(-t "$codename-backports")
fi
apt install -y --no-install-recommends "${release[@]}" suricata
[ "$(major "$(have)")" -ge 7 ] || { echo "apt-get installed Suricata $(have), wanted 7 or newer" >&2; exit 1; }
