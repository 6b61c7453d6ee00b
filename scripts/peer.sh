#!/usr/bin/env bash
# Make an environment for software that we compare with or exchange files with, and print the path of its Python. Such software
# pins versions that do not fit ours, so each gets an environment of its own, .peers/NAME, from benchmarks/peers/NAME.txt. What a
# line "# no-deps: …" there lists is installed last and without its dependencies.
#
#   scripts/peer.sh lerobot
set -euo pipefail
cd "$(dirname "$0")/.."
name=${1:-}
pins=benchmarks/peers/$name.txt
if [ -z "$name" ] || [ ! -f "$pins" ]; then
    printf 'peer: no peer named %s; there are: %s\n' "'$name'" "$(cd benchmarks/peers && ls ./*.txt 2>/dev/null | sed 's|./||; s|.txt||' | tr '\n' ' ')" >&2
    exit 1
fi
folder=.peers/$name
if ! cmp -s "$pins" "$folder/ready"; then
    printf 'peer: making %s (minutes the first time)\n' "$folder" >&2
    "${PYTHON:-python3}" -m venv --clear "$folder"
    pip=("$folder/bin/python" -m pip --disable-pip-version-check install --quiet)
    [ -z "${TORCH_INDEX:-}" ] || pip+=(--extra-index-url "$TORCH_INDEX")
    "${pip[@]}" --requirement "$pins" >&2
    # shellcheck disable=SC2046 # a list of packages
    ! grep -q '^# no-deps:' "$pins" || "${pip[@]}" --no-deps $(sed -n 's/^# no-deps: *//p' "$pins") >&2
    cp "$pins" "$folder/ready"
fi
printf '%s\n' "$PWD/$folder/bin/python"
