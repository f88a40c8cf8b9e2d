"""Until when the certificates are valid that FOREBAY_SECURITY names; (X.509 in PEM)."""

import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from pipeline.errors import BadData

MAX_BYTES = 4_000_000
"""A bundle of all authorities that a system trusts has 250 kB."""
_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)
# What it is -> the property with its file, the property with its text.
PROPERTIES = {
    "client": ("ssl.certificate.location", "ssl.certificate.pem"),
    "authority": ("ssl.ca.location", "ssl.ca.pem"),
}


class Certificate(NamedTuple):
    """A certificate of the settings: `client` or `authority`, the property that names it, its last second (Unix)."""

    kind: str
    property: str
    expires_s: int


def certificates(security: Mapping[str, str]) -> list[Certificate]:
    """The certificates that these librdkafka properties name; none where there are none, or only a folder of them.

    Of a client's file the first one counts, as it is the client's own; of authorities the one that is valid for
    longest, as one that is about to expire lies beside its successor for a while. BadData where a file cannot be read
    or holds none. Keystores (PKCS #12) are not read.
    """
    found = []
    for kind, (file, text) in PROPERTIES.items():
        name = file if security.get(file) else text
        if not security.get(name):
            continue
        path = Path(security[file]) if name == file else None
        if path is not None and (path.is_dir() or security[file] == "probe"):  # what librdkafka looks up by itself
            continue
        expiries = _expiries_s(_content(path) if path else security[text].encode(), name)
        found.append(Certificate(kind, name, expiries[0] if kind == "client" else max(expiries)))
    return found


def _content(path: Path) -> bytes:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise BadData(f"{path}: got over {MAX_BYTES:,} bytes, expected certificates in PEM; name another file")
        return path.read_bytes()
    except OSError as error:
        raise BadData(
            f"{path}: got {error.strerror}, expected certificates in PEM; correct its rights, or name another file"
        ) from error


def _expiries_s(content: bytes, name: str) -> list[int]:
    """Unix times at which the certificates of a PEM text end, in its order; BadData where one of them is none."""
    from cryptography import x509  # most settings name no certificate: 8 MiB a worker for nothing

    blocks = _PEM.findall(content)
    if not blocks:
        raise BadData(f"{name}: got no certificate, expected some in PEM; name another file")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # old authorities with odd serial numbers: their end is what counts here
            return [int(x509.load_pem_x509_certificate(block).not_valid_after_utc.timestamp()) for block in blocks]
    except ValueError as error:
        raise BadData(
            f"{name}: got a damaged certificate ({error}), expected one that OpenSSL reads; make it anew"
        ) from error
