import datetime
from pathlib import Path

import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import BadData
from pipeline.runtime.certificates import certificates

END = datetime.datetime(2031, 5, 6, 7, 8, 9, tzinfo=datetime.UTC)


def pem_until(*years: int) -> bytes:
    ca = trustme.CA()
    return b"".join(
        ca.issue_cert("worker.example", not_after=END.replace(year=year)).cert_chain_pems[0].bytes() for year in years
    )


@pytest.mark.parametrize("year", [2001, 2031, 2049, 2050, 2051, 9000])
def test_the_end_is_read_to_the_second_in_every_century(year: int) -> None:
    (read,) = certificates({"ssl.certificate.pem": pem_until(year).decode()})
    assert read.expires_s == int(END.replace(year=year).timestamp())


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
        (b"-----BEGIN CERTIFICATE-----\n\x80\x81\n-----END CERTIFICATE-----\n", "damaged"),
        (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "damaged"),
        (b" " * 5_000_000, "over 4,000,000 bytes"),
    ],
)
def test_what_is_none_is_bad_data(tmp_path: Path, content: bytes | None, says: str) -> None:
    file = tmp_path / "cert.pem"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(BadData, match=says):
        certificates({"ssl.certificate.location": str(file)})


SAMPLE = pem_until(2031)


@given(st.integers(0, len(SAMPLE) - 1), st.binary(max_size=3))
def test_changed_bytes_are_a_time_or_bad_data_and_nothing_else(at: int, put: bytes) -> None:
    changed = SAMPLE[:at] + put + SAMPLE[at + len(put) :]
    try:
        (read,) = certificates({"ssl.certificate.pem": changed.decode("latin-1")})
    except BadData as error:
        assert "certificate" in str(error) and str(error).isprintable()
    else:
        assert isinstance(read.expires_s, int)


@given(st.integers(1, len(SAMPLE.rstrip()) - 1))
def test_a_text_that_is_cut_off_is_bad_data(size: int) -> None:
    with pytest.raises(BadData, match="no certificate"):
        certificates({"ssl.certificate.pem": SAMPLE[:size].decode()})
