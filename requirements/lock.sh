#!/usr/bin/env bash
# Resolves each NAME.in into NAME.txt: for every platform at once, pinned, with hashes, and without any index's address.
# Pins of the existing files are kept unless UPGRADE=1; `dev` comes first and the others follow its versions.
set -euo pipefail

uv=${BIN:-.venv/bin}/uv
compile() {
    local name=$1
    shift
    "$uv" pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate \
        --custom-compile-command 'make lock' ${UPGRADE:+--upgrade} "$@" "requirements/$name.in" -o "requirements/$name.txt"
    echo "requirements/$name.txt: $(grep -c '^[a-z].*==' "requirements/$name.txt") packages"
}

compile uv
compile dev
for name in "$@"; do
    case $name in
        uv | dev) ;;
        peers | flink) compile "$name" ;; # an environment of its own: nothing of ours has to fit
        *) compile "$name" --constraint requirements/dev.txt ;;
    esac
done
