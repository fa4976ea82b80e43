#!/usr/bin/env bash
# Builds test/sri with Rust's cargo and prints where the program is. As root on Debian or Ubuntu it installs cargo and a C
# compiler if there are none, or none that is new enough. What is built lies in the cache of docker/stack, not here.
set -euo pipefail
cd "$(dirname "$0")"
least=1.78 # for the lock file's format and the crates in it

# rustup puts cargo where a login shell finds it, which this may not be.
PATH="$PATH:${CARGO_HOME:-$HOME/.cargo}/bin"

reaches() { printf '%s\n' "$least" "$1" | sort -C -V; }

missing=()
command -v cc >/dev/null 2>&1 || missing+=(gcc libc6-dev)
have=$(cargo --version 2>/dev/null | cut -d ' ' -f 2) || have=0
reaches "$have" || missing+=(cargo)
if [ ${#missing[@]} -gt 0 ]; then
	if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
		echo "the test with the Stratum V2 reference implementation needs: ${missing[*]} (cargo $least or newer)" >&2
		exit 1
	fi
	export DEBIAN_FRONTEND=noninteractive
	apt-get update -qq >&2
	# A release's own cargo may be too old; cargo-web is the one with which its browsers are built.
	for package in cargo cargo-web; do
		candidate=$(apt-cache policy "$package" | sed -n 's/^  Candidate: \([0-9]\)/\1/p')
		if [ "${missing[-1]}" = cargo ] && reaches "$candidate"; then
			missing[-1]=$package
			break
		fi
	done
	apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2
	hash -r
fi

target=${STACK_CACHE:-/var/tmp/minecanary-stack}/sri
mkdir -p "$target"
cargo build --quiet --release --locked --manifest-path sri/Cargo.toml --target-dir "$target" >&2
echo "$target/release/sri"
