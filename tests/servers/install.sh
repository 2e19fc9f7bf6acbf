#!/usr/bin/env bash
# What the tests need beside Python: as root on Debian or Ubuntu it is installed, elsewhere it is named, before anything slow.
set -euo pipefail
cd "$(dirname "$0")/../.."

install() {
    echo "installing $*"
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

# The newest Java that the distribution has.
newest_java() {
    apt-cache search --names-only '^openjdk-[0-9]+-jre-headless$' | awk '{print $1}' | sort -t- -k2 -n | tail -n 1
}

if [[ ${CALLMETER_TEST_BROKER:-} == embedded ]]; then
    exit 0
fi
if [[ $(id -u) == 0 ]] && command -v apt-get >/dev/null; then
    missing=()
    command -v mvn >/dev/null || missing+=(maven)
    command -v promtool >/dev/null || missing+=(prometheus)
    command -v prometheus-alertmanager >/dev/null || missing+=(prometheus-alertmanager)
    # Without these two the tests of the page and of `top` are left out, which the summary says.
    command -v chromium >/dev/null || missing+=(chromium)
    command -v tmux >/dev/null || missing+=(tmux)
    if ((${#missing[@]})) || ! tests/servers/require_java.sh 2>/dev/null; then
        apt-get update -qq
        ((${#missing[@]} == 0)) || install "${missing[@]}"
        tests/servers/require_java.sh 2>/dev/null || install "$(newest_java)"
    fi
fi
tests/servers/require_java.sh
