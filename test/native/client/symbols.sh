#!/usr/bin/env bash
# The library exports exactly the functions of its headers. Usage: symbols.sh SOURCE_DIR libsublet.so libsublet.a
set -euo pipefail
headers=("$1/functions/include/sublet/sublet.h" "$1/functions/include/sublet/status.h")
declared=$(grep -ohE '\bsublet_[a-z_]+\(' "${headers[@]}" | tr -d '(' | sort -u)
exported=$(nm -D --defined-only "$2" | awk '$2 != "A" { sub(/@.*/, "", $3); print $3 }' | sort -u)
archived=$(nm -g --defined-only "$3" | awk 'NF == 3 { print $3 }' | sort -u)
diff <(echo "$declared") <(echo "$exported")
diff <(echo "$declared") <(echo "$archived")
