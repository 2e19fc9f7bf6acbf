#!/usr/bin/env bash
# Ends with one sentence that says what to install when Apache Kafka cannot be fetched or run on this machine.
set -euo pipefail

version=$(java -XshowSettings:properties -version 2>&1 | awk '/java.specification.version =/ {print $3}' || true)
if [[ ! "$version" =~ ^[0-9]+$ ]] || ((version < 17)) || ! command -v mvn >/dev/null; then
    echo "The tests run Apache Kafka: install Java 17 or newer and Maven (Debian, Ubuntu: apt-get install" \
        "openjdk-17-jre-headless maven), or leave out what needs it with CALLMETER_TEST_BROKER=embedded." >&2
    exit 1
fi
