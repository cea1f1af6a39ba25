#!/usr/bin/env bash
# Measures the ways to run a step on this machine's GPU, in four minutes: table.md, acceleration.json,
# kernels.txt and log.txt in $OUT, or in benchmarks/results. Wheels in .whl/, if any, are used first,
# so that it works without a registry.
set -euo pipefail
cd "$(dirname "$0")/.."
if compgen -G '.whl/*.whl' > /dev/null; then
    site=$(mktemp -d)
    python3 -m pip install -q --no-index --no-deps --no-compile --no-cache-dir --target "$site" .whl/*.whl
    export PYTHONPATH=$site
fi
export PYTHONPATH=$PWD/src${PYTHONPATH:+:$PYTHONPATH} PYTHONUNBUFFERED=1
TORCHINDUCTOR_CACHE_DIR=$(mktemp -d)
export TORCHINDUCTOR_CACHE_DIR
exec python3 benchmarks/acceleration.py --out "${OUT:-benchmarks/results}" "$@"
