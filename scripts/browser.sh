#!/usr/bin/env bash
# Install the browser in which the console's pages are tested: Debian's chromium. Where that may not or cannot be done, those
# tests are skipped and say so.
set -u
command -v chromium >/dev/null && exit 0
if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
    printf 'no chromium: tests in a browser are skipped. To have them: sudo apt-get install chromium\n'
    exit 0
fi
printf 'installing chromium for the tests in a browser\n'
apt-get update -qq >/dev/null 2>&1
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium >/dev/null 2>&1 ||
    printf 'chromium cannot be installed: tests in a browser are skipped\n'
