#!/usr/bin/env bash
# Has schemathesis, from PyPI into a folder that goes away again, look for requests that the API does not answer as
# intel/api/openapi.yaml says. It takes about two minutes and needs python3 with venv.
set -euo pipefail
cd "$(dirname "$0")/.."
version=4.32.5
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet --disable-pip-version-check "schemathesis==$version"
SCHEMATHESIS="$dir/venv/bin/schemathesis" "${GO:-go}" test -count=1 -timeout 10m -run '^TestSchemathesis$' -v ./intel/api
