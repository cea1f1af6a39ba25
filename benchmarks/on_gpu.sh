#!/usr/bin/env bash
# `make bench` on a machine without a registry: wheels in .whl/ and archives in .gpu/ are used first.
set -euo pipefail
cd "$(dirname "$0")/.."
site=$(mktemp -d)
if compgen -G '.whl/*.whl' > /dev/null; then
    python3 -m pip install -q --no-index --no-deps --no-compile --no-cache-dir --target "$site" .whl/*.whl &
fi
for archive in .gpu/*.tar.xz; do
    [ -e "$archive" ] && python3 -c 'import sys, tarfile; tarfile.open(sys.argv[1]).extractall(sys.argv[2], filter="data")' "$archive" "$site-archives"
done
wait
export PYTHONPATH=$PWD/src:$site:$site-archives PYTHONUNBUFFERED=1
exec python3 benchmarks/run.py --out "${OUT:-benchmarks/results}" "$@"
