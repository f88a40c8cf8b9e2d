import datetime
from pathlib import Path

import pytest
import trustme
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import BadData
from pipeline.runtime.certificates import certificates, expires_s

END = datetime.datetime(2031, 5, 6, 7, 8, 9, tzinfo=datetime.UTC)


def der_of(pem: bytes) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding

    return x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER)


def pem_until(*years: int) -> bytes:
    ca = trustme.CA()
    return b"".join(
        ca.issue_cert("worker.example", not_after=END.replace(year=year)).cert_chain_pems[0].bytes() for year in years
    )


@pytest.mark.parametrize("year", [2001, 2031, 2049, 2050, 2051, 9000])
def test_the_end_is_the_one_that_another_reader_finds(year: int) -> None:
    found = x509.load_pem_x509_certificate(pem := pem_until(year))
    assert expires_s(der_of(pem)) == int(found.not_valid_after_utc.timestamp())


def test_of_a_client_the_first_counts_and_of_authorities_the_last_to_expire(tmp_path: Path) -> None:
    file = tmp_path / "both.pem"
    file.write_bytes(b"# a remark\n" + pem_until(2031, 2040))
    ends = {year: int(END.replace(year=year).timestamp()) for year in (2031, 2040)}
    security = {"ssl.certificate.location": str(file), "ssl.ca.pem": file.read_text()}
    assert [tuple(each) for each in certificates(security)] == [
        ("client", "ssl.certificate.location", ends[2031]),
        ("authority", "ssl.ca.pem", ends[2040]),
    ]


def test_nothing_named_is_nothing_found(tmp_path: Path) -> None:
    for security in (
        {},
        {"security.protocol": "ssl"},
        {"ssl.ca.location": str(tmp_path)},
        {"ssl.ca.location": "probe"},
    ):
        assert certificates(security) == []


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "No such file"),
        (b"", "no certificate"),
        (b"\xff\x00 not text", "no certificate"),
        (b"-----BEGIN CERTIFICATE-----\n\x80\x81\n-----END CERTIFICATE-----\n", "damaged|its end"),
        (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "got tag"),
        (b" " * 5_000_000, "over 4,000,000 bytes"),
    ],
)
def test_what_is_none_is_bad_data(tmp_path: Path, content: bytes | None, says: str) -> None:
    file = tmp_path / "cert.pem"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(BadData, match=says):
        certificates({"ssl.certificate.location": str(file)})


SAMPLE = der_of(pem_until(2031))


@given(st.binary(max_size=200) | st.integers(0, len(SAMPLE)).map(lambda size: SAMPLE[:size]))
def test_bytes_that_are_none_are_bad_data_and_nothing_else(der: bytes) -> None:
    try:
        assert expires_s(der) == int(END.timestamp())
    except BadData as error:
        assert "certificate" in str(error)


@given(st.integers(0, len(SAMPLE) - 1), st.integers(0, 255))
def test_a_changed_byte_is_a_time_or_bad_data(at: int, value: int) -> None:
    changed = SAMPLE[:at] + bytes([value]) + SAMPLE[at + 1 :]
    try:
        assert isinstance(expires_s(changed), int)
    except BadData as error:
        assert str(error).isprintable()
