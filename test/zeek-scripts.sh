#!/usr/bin/env bash
# Checks the Zeek package as far as that goes without Zeek: zeek-format and zeek-script parse (zeekscript), an install by
# zkg into an empty folder, and what zeek-scripts/testing/Scripts/check-package looks at. All from PyPI, into a folder
# that goes away again; needs python3 with venv, and git. With zeek and zeek-config in PATH the btests run too.
# --fix has zeek-format rewrite the scripts.
set -euo pipefail
cd "$(dirname "$0")/.."
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet --disable-pip-version-check zeekscript==1.3.6 zkg==3.2.0 btest==1.3 pyyaml==6.0.3
PATH="$dir/venv/bin:$PATH"

python zeek-scripts/testing/Scripts/check-package "$@"

# zkg takes a package from a git repository: one of what is in the tree now.
mkdir -p "$dir/minecanary" "$dir/site"
cp -R zkg.meta zeek-scripts "$dir/minecanary"
git -C "$dir/minecanary" init --quiet --initial-branch=main
git -C "$dir/minecanary" add --all
git -C "$dir/minecanary" -c user.name=test -c user.email=test@example.org commit --quiet --message=test
cat >"$dir/zkg" <<END
[sources]
[paths]
state_dir = $dir/state
script_dir = $dir/site
plugin_dir = $dir/plugins
bin_dir = $dir/bin
zeek_dist =
END
zkg --configfile "$dir/zkg" install --force --skiptests --nodeps "$dir/minecanary" 2>/dev/null >"$dir/out" || {
	cat "$dir/out" >&2
	exit 1
}
diff -r zeek-scripts/scripts "$dir/site/packages/minecanary"
grep -qx '@load ./minecanary' "$dir/site/packages/packages.zeek"
echo "zkg $(zkg --version | sed 's/.* //') installs $(find "$dir/site/packages/minecanary" -type f | wc -l) files"

tests=$(find zeek-scripts/testing/tests -name '*.zeek' | wc -l)
if command -v zeek >/dev/null 2>&1 && command -v zeek-config >/dev/null 2>&1; then
	zeek --version
	(cd zeek-scripts/testing && btest -c btest.cfg)
else
	echo "no zeek in PATH: $tests btests not run"
fi
