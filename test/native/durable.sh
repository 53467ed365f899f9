#!/usr/bin/env bash
# The checker of durable regions at length: 200 kills of mirrored copies, 1,000 reclaims of evacuated regions, 100 power
# cuts of nodes with a mirrored copy, while threads write and know every write that was acknowledged.
# `npm run test:durable -- KILLS RECLAIMS [POWER_CUTS [SEED]]` for others.
# Ends with "N passed, N failed". Not part of the gate, which has 20, 50 and 20.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
if ! bash deploy/setup/setup.sh || ! bash deploy/setup/build.sh; then
  echo "0 passed, 1 failed"
  exit 1
fi
seed=${4:-$((RANDOM * 32768 + RANDOM))}
echo "seed $seed"
if build/native/bin/client_durable_check "${1:-200}" "${2:-1000}" "${3:-100}" "$seed"; then
  echo "3 passed, 0 failed"
else
  echo "0 passed, 1 failed"
  exit 1
fi
