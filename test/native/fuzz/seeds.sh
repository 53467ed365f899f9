#!/usr/bin/env bash
# Writes the inputs that a target begins with, seeds/TARGET.txt, into a folder, a file for each. Usage: seeds.sh TARGET FOLDER
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
seeds=$here/seeds/$1.txt
if [ ! -f "$seeds" ]; then exit 0; fi
declare -A frames
while read -r name hex _; do frames[$name]=$hex; done < <(grep -v '^#' "$here/../wire/recorded.txt")
while read -r name words; do
  hex=
  for word in $words; do
    if [ "${word:0:1}" = @ ]; then word=${frames[${word:1}]}; fi
    hex+=$word
  done
  escaped=
  for ((at = 0; at < ${#hex}; at += 2)); do escaped+="\\x${hex:at:2}"; done
  printf '%b' "$escaped" > "$2/seed-$name"
done < <(grep -v '^#' "$seeds")
