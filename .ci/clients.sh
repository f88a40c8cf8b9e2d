#!/usr/bin/env bash
# Installs the clients that tests/clients runs, where this machine can: Debian's packages as root, GoFlow2 with Go.
# What is missing fails nothing: `make test` ends with what it did not show.
PACKAGES=(rsyslog rsyslog-kafka kcat pmacct nfdump argus-client argus-server)
GOFLOW2=github.com/netsampler/goflow2/v2/cmd/goflow2@v2.2.6
folder=$1 # of what is built here

if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null && ! dpkg-query -s "${PACKAGES[@]}" >/dev/null 2>&1; then
    export DEBIAN_FRONTEND=noninteractive
    { timeout 60 apt-get update && timeout 120 apt-get install -y --no-install-recommends "${PACKAGES[@]}"; } \
        >/dev/null 2>&1 || echo "clients: Debian's packages could not be installed" >&2
fi
if ! command -v goflow2 >/dev/null && [ ! -x "$folder/goflow2" ] && command -v go >/dev/null; then
    GOBIN=$folder timeout 180 go install "$GOFLOW2" >/dev/null 2>&1 || echo "clients: GoFlow2 could not be built" >&2
fi
exit 0
