import ssl

import pytest

from pipeline.errors import Misconfigured
from pipeline.runtime.faust.credentials import credentials


def test_a_plain_connection_needs_none() -> None:
    assert credentials({}) is None
    assert credentials({"security.protocol": "PLAINTEXT"}) is None


def test_librdkafkas_names_become_fausts() -> None:
    made = credentials(
        {
            "security.protocol": "SASL_SSL",
            "sasl.mechanisms": "SCRAM-SHA-512",
            "sasl.username": "forebay",
            "sasl.password": "word",
        }
    )
    assert made.mechanism.value == "SCRAM-SHA-512"
    assert (made.username, made.password) == ("forebay", "word")
    assert isinstance(made.ssl_context, ssl.SSLContext)
    assert made.ssl_context.verify_mode == ssl.CERT_REQUIRED


def test_a_certificate_alone_is_enough() -> None:
    assert isinstance(credentials({"security.protocol": "ssl"}).context, ssl.SSLContext)


def test_settings_that_faust_lacks_are_refused() -> None:
    with pytest.raises(Misconfigured, match=r"ssl\.crl\.location"):
        credentials({"security.protocol": "SSL", "ssl.crl.location": "x"})
