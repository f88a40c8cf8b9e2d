#!/usr/bin/env bash
# Makes the virtual environment `make setup` promises: every package pinned and checked against its hash.
# uv installs (seconds instead of minutes); pip does where uv cannot. Where pip is told to use another index,
# certificate or wheelhouse, uv is told the same.
set -euo pipefail

python=${PYTHON:-python3}
venv=${VENV:-.venv}

stop() {
    printf 'make setup: %s\n' "$1" >&2
    exit 1
}

command -v "$python" >/dev/null 2>&1 ||
    stop "got no '$python', expected Python 3.11 or newer; install it, or name it: make setup PYTHON=python3.12"
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    stop "got $("$python" --version 2>&1), expected Python 3.11 or newer; name one: make setup PYTHON=python3.12"
"$python" -c 'import ensurepip, venv' 2>/dev/null ||
    stop "'$python' has no venv module; on Debian or Ubuntu install python3-venv, or name another: make setup PYTHON=..."

if [[ -x $venv/bin/python ]] && ! "$venv/bin/python" -c 'import pip' 2>/dev/null; then
    # Half-made, or its interpreter is gone.
    rm -rf "$venv"
fi
if [[ ! -x $venv/bin/python ]]; then
    echo "making $venv with $("$python" --version)"
    "$python" -m venv "$venv"
fi

# What pip was told (environment first, then its configuration file), uv is told too.
from_pip() {
    local variable=$1 option=$2
    printf '%s' "${!variable:-$("$venv/bin/python" -m pip config get "global.$option" 2>/dev/null || true)}"
}
# An export, unless it is set already or there is nothing to set.
told() {
    if [[ -z ${!1:-} && -n $2 ]]; then export "$1=$2"; fi
}
unset PIP_USER PIP_TARGET PIP_PREFIX # pip refuses them in a virtual environment
told UV_INDEX_URL "${UV_DEFAULT_INDEX:-$(from_pip PIP_INDEX_URL index-url)}"
told UV_EXTRA_INDEX_URL "$(from_pip PIP_EXTRA_INDEX_URL extra-index-url)"
told SSL_CERT_FILE "$(from_pip PIP_CERT cert)"
told SSL_CERT_FILE "${REQUESTS_CA_BUNDLE:-}"
if [[ -n ${PIP_NO_INDEX:-} ]]; then
    told UV_NO_INDEX 1
    told UV_FIND_LINKS "${PIP_FIND_LINKS:-}"
fi
told UV_HTTP_TIMEOUT "${PIP_DEFAULT_TIMEOUT:-}"

with_uv() {
    local uv=$venv/bin/uv
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/uv.txt &&
        VIRTUAL_ENV=$venv "$uv" pip sync --quiet --require-hashes --compile-bytecode requirements/dev.txt &&
        VIRTUAL_ENV=$venv "$uv" pip install --quiet --no-deps --no-build-isolation -e .
}

with_pip() {
    "$venv/bin/python" -m pip install --disable-pip-version-check --require-hashes -r requirements/dev.txt &&
        "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
}

echo "installing $(grep -c '^[a-z].*==' requirements/dev.txt) pinned packages (about 2 GB to fetch once, most of it torch)"
started=$SECONDS
if ! with_uv; then
    echo "uv could not install them (its message is above); trying pip, which takes a few minutes" >&2
    with_pip || stop "pip could not install requirements/dev.txt either; is a package index reachable (PIP_INDEX_URL)?"
fi
"$venv/bin/forebay" --version
echo "installed in $((SECONDS - started)) s"
