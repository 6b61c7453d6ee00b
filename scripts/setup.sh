#!/usr/bin/env bash
# Make .venv: a Python of its own, the pinned dependencies, and a check that pictures can be drawn without a screen.
# Safe to run again at any point; `make` runs it only when something that it depends on has changed.
#
#   PYTHON=python3.12        the interpreter to use (3.11 or newer)
#   TORCH_INDEX=URL          one more package index, for another build of torch, e.g. https://download.pytorch.org/whl/cpu
set -euo pipefail
cd "$(dirname "$0")/.."

fail() {
    printf '\nsetup: %s\n' "$1" >&2
    exit 1
}

say() {
    printf 'setup: %s\n' "$1"
}

# What a command prints is of interest only if it fails.
quietly() {
    local log status=0
    log=$(mktemp)
    "$@" >"$log" 2>&1 || status=$?
    [ "$status" -eq 0 ] || cat "$log" >&2
    rm -f "$log"
    return "$status"
}

is_new_enough() {
    command -v "$1" >/dev/null && "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

choose_python() {
    local candidate
    for candidate in ${PYTHON:-python3 python3.13 python3.12 python3.11}; do
        if is_new_enough "$candidate"; then
            printf '%s' "$candidate"
            return
        fi
    done
    fail "Python 3.11 or newer is needed, and ${PYTHON:-python3} is $("${PYTHON:-python3}" --version 2>/dev/null || echo missing).
Install one (Debian 12, Ubuntu 24.04: sudo apt-get install -y python3 python3-venv), or name it: make PYTHON=/path/to/python3.12"
}

# Install Debian packages when we may; otherwise print the command that does, and stop.
install_packages() {
    if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
        fail "$1. Run this, and then the same command again:

    sudo apt-get update && sudo apt-get install -y $2"
    fi
    say "installing $2"
    quietly apt-get update || say "the package lists could not be refreshed; trying with those that are there"
    # shellcheck disable=SC2086 # a list of packages
    DEBIAN_FRONTEND=noninteractive quietly apt-get install -y --no-install-recommends $2 ||
        fail "$1, and installing $2 failed: see above."
}

python=$(choose_python)
rm -f .venv/ready

# A Python that was upgraded or removed leaves a broken environment behind: make a new one.
if [ ! -x .venv/bin/python ] || ! .venv/bin/python -m pip --version >/dev/null 2>&1; then
    if ! "$python" -c 'import ensurepip' 2>/dev/null; then
        install_packages "$python cannot make virtual environments" "$("$python" -c 'import sys; print("python3.%d-venv" % sys.version_info[1])')"
    fi
    say "making .venv with $("$python" --version)"
    "$python" -m venv --clear .venv
fi

# pip is quiet for minutes: how much has come so far is said every half minute.
count() {
    while sleep 30 >/dev/null 2>&1; do
        say "$(du -sh .venv | cut -f1) of some 4 GB"
    done
}

say "installing the dependencies that constraints.txt pins (minutes the first time)"
count &
counting=$!
trap 'kill "$counting" 2>/dev/null || true' EXIT
pip=(.venv/bin/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt)
[ -z "${TORCH_INDEX:-}" ] || pip+=(--extra-index-url "$TORCH_INDEX")
# The build tools come first and from the same pins, so that no build environment of unpinned ones is made.
"${pip[@]}" hatchling editables
extras=dev,train,sim,foundation,language,onnx,wandb,hub,view,serve,console,replicas,widowx,openpi,lerobot
"${pip[@]}" --no-build-isolation --editable ".[$extras]"
kill "$counting" 2>/dev/null || true

if ! .venv/bin/python scripts/check_rendering.py; then
    install_packages "headless rendering does not work" "$(.venv/bin/python scripts/check_rendering.py --packages)"
    .venv/bin/python scripts/check_rendering.py || fail "headless rendering still does not work: see above."
fi

touch .venv/ready
say "ready"
