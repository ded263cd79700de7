#!/bin/sh
# The released size on a GPU: latency, the loop shaped like the release beside it, a profile. Minutes; needs torch and
# transformers alone. usage: bench/gpu.sh [FOLDER FOR gpu.json AND profile.txt]
set -e
cd "$(dirname "$0")/.."
PYTHONPATH=src exec timeout 480 "${PYTHON:-python3}" -m himoe_ros.bench.gpu --out "${1:-.}"
