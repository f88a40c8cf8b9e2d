#!/usr/bin/env bash
# Installs what tests run besides Python's packages, where this machine can: the clients of tests/clients, a browser for
# the page, promtool for the alarm rules. Debian's packages as root, GoFlow2 with Go.
# What is missing fails nothing: `make test` ends with what it did not show.
CLIENTS=(rsyslog rsyslog-kafka rsyslog-openssl kcat pmacct nfdump argus-client argus-server)
TOOLS=(chromium prometheus)
GOFLOW2=github.com/netsampler/goflow2/v2/cmd/goflow2@v2.2.6
folder=$1 # of what is built here

debian() {
    dpkg-query -s "$@" >/dev/null 2>&1 && return
    { timeout 60 apt-get update && timeout 180 apt-get install -y --no-install-recommends "$@"; } \
        >/dev/null 2>&1 || echo "tests: Debian's packages could not be installed: $*" >&2
}

if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    export DEBIAN_FRONTEND=noninteractive
    debian "${CLIENTS[@]}"
    debian "${TOOLS[@]}"
fi
if ! command -v goflow2 >/dev/null && [ ! -x "$folder/goflow2" ] && command -v go >/dev/null; then
    GOBIN=$folder timeout 180 go install "$GOFLOW2" >/dev/null 2>&1 || echo "clients: GoFlow2 could not be built" >&2
fi
exit 0
