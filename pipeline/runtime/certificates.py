"""Until when the certificates are valid that FOREBAY_SECURITY names; read from their bytes (X.509, DER in PEM)."""

import binascii
import calendar
import re
import ssl
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from pipeline.errors import BadData

SEQUENCE, VERSION, UTC_TIME, GENERALIZED_TIME = 0x30, 0xA0, 0x17, 0x18
MAX_BYTES = 4_000_000
"""A bundle of all authorities that a system trusts has 250 kB."""
_PEM = re.compile(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)
_TIMES = {
    UTC_TIME: (re.compile(rb"\d{12}Z"), "%y%m%d%H%M%SZ"),
    GENERALIZED_TIME: (re.compile(rb"\d{14}Z"), "%Y%m%d%H%M%SZ"),
}
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
        expiries = [expires_s(each) for each in _certificates_in(_text(path) if path else security[text], name)]
        found.append(Certificate(kind, name, expiries[0] if kind == "client" else max(expiries)))
    return found


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise BadData(f"{path}: got over {MAX_BYTES:,} bytes, expected certificates in PEM; name another file")
        return path.read_text("latin-1")
    except OSError as error:
        raise BadData(
            f"{path}: got {error.strerror}, expected certificates in PEM; correct its rights, or name another file"
        ) from error


def _certificates_in(text: str, name: str) -> Iterator[bytes]:
    blocks = _PEM.findall(text)
    if not blocks:
        raise BadData(f"{name}: got no certificate, expected some in PEM; name another file")
    for block in blocks:
        try:
            yield ssl.PEM_cert_to_DER_cert(block)
        except (ValueError, binascii.Error) as error:
            raise BadData(
                f"{name}: got a damaged certificate, expected base64 between its lines; make it anew"
            ) from error


def expires_s(der: bytes) -> int:
    """Unix time at which a certificate's validity ends (RFC 5280, 4.1.2.5); BadData where the bytes are none."""
    at = _inside(der, 0, SEQUENCE)  # Certificate
    at = _inside(der, at, SEQUENCE)  # TBSCertificate
    if der[at : at + 1] == bytes([VERSION]):
        at = _element(der, at)[2]
    for _ in range(3):  # serialNumber, signature, issuer
        at = _element(der, at)[2]
    at = _inside(der, at, SEQUENCE)  # Validity
    at = _element(der, at)[2]  # notBefore
    tag, start, end = _element(der, at)
    pattern, layout = _TIMES.get(tag, (None, ""))
    if pattern is None or not pattern.fullmatch(der[start:end]):
        raise BadData(f"certificate: got {der[start:end][:20]!r} as the end of its validity, expected a time in UTC")
    try:
        parsed = time.strptime(der[start:end].decode(), layout)
    except ValueError as error:
        raise BadData(f"certificate: got {der[start:end]!r} as the end of its validity, expected a time") from error
    # Of two digits RFC 5280 counts 50 and later to the last century; Python's border is 69.
    year = parsed.tm_year - 100 if tag == UTC_TIME and parsed.tm_year >= 2050 else parsed.tm_year
    return calendar.timegm((year, *parsed[1:6]))


def _inside(der: bytes, at: int, expected: int) -> int:
    tag, start, _end = _element(der, at)
    if tag != expected:
        raise BadData(f"certificate: got tag {tag:#x} at byte {at}, expected {expected:#x}")
    return start


def _element(der: bytes, at: int) -> tuple[int, int, int]:
    """Tag of the element at a byte, and where its content starts and ends; BadData where it does not fit."""
    if at + 2 > len(der):
        raise BadData(f"certificate: got its end at byte {len(der)}, expected an element at byte {at}")
    tag, size, start = der[at], der[at + 1], at + 2
    if size & 0x80:
        digits = size & 0x7F
        size = int.from_bytes(der[start : start + digits], "big") if 0 < digits <= 4 else len(der)
        start += digits
    if start + size > len(der):
        raise BadData(f"certificate: got its end at byte {len(der)}, expected {size} bytes from byte {start} on")
    return tag, start, start + size
