"""What FOREBAY_SECURITY may say, checked before any client is made; and whether a port speaks TLS.

Nothing here repeats a value: passwords and keys stand beside harmless ones, and no name says for sure which they are.
"""

import difflib
import re
import socket
import ssl
from collections.abc import Mapping
from typing import Any

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from pipeline.errors import Misconfigured
from pipeline.settings import Settings

WHERE = "FOREBAY_SECURITY"
PROTOCOLS = ("plaintext", "ssl", "sasl_plaintext", "sasl_ssl")
# librdkafka 2.x, CONFIGURATION.md: the properties that say who we are, whom we trust, and how it stays secret.
PROPERTIES = (
    "security.protocol",
    *("ssl.ca.location", "ssl.ca.pem", "ssl.ca.certificate.stores", "ssl.certificate.location", "ssl.certificate.pem"),
    *("ssl.key.location", "ssl.key.password", "ssl.key.pem", "ssl.keystore.location", "ssl.keystore.password"),
    *("ssl.crl.location", "ssl.cipher.suites", "ssl.curves.list", "ssl.sigalgs.list", "ssl.providers"),
    *("ssl.engine.location", "ssl.engine.id", "ssl.endpoint.identification.algorithm"),
    *("enable.ssl.certificate.verification", "https.ca.location", "https.ca.pem"),
    *("sasl.mechanism", "sasl.mechanisms", "sasl.username", "sasl.password"),
    *("sasl.kerberos.service.name", "sasl.kerberos.principal", "sasl.kerberos.kinit.cmd", "sasl.kerberos.keytab"),
    *("sasl.kerberos.min.time.before.relogin", "enable.sasl.oauthbearer.unsecure.jwt"),
    *("sasl.oauthbearer.config", "sasl.oauthbearer.method", "sasl.oauthbearer.client.id"),
    *("sasl.oauthbearer.client.secret", "sasl.oauthbearer.scope", "sasl.oauthbearer.extensions"),
    "sasl.oauthbearer.token.endpoint.url",
)
PROBE_S = 2.0


def require_usable(security: Mapping[str, str]) -> None:
    """Misconfigured where a property is unknown, contradicts another, or is refused by librdkafka itself."""
    for name in security:
        if name not in PROPERTIES:
            near = difflib.get_close_matches(name, PROPERTIES, 1, 0.7)
            meant = f"did you mean {near[0]}? " if near else ""
            raise Misconfigured(
                f"{WHERE}: got the property {name}, expected one of librdkafka's security properties; "
                f"{meant}correct or remove it (docs/operations.md has an example)"
            )
    protocol = _protocol(security)
    if protocol not in PROTOCOLS:
        raise Misconfigured(
            f"{WHERE}: got another security.protocol, expected one of {', '.join(PROTOCOLS)}; correct it"
        )
    _agree(security, protocol, "ssl", ("ssl.", "enable.ssl."), "ssl or sasl_ssl")
    _agree(security, protocol, "sasl", ("sasl.", "enable.sasl."), "sasl_ssl or sasl_plaintext")
    if security:
        _ask_librdkafka(security)


def _protocol(security: Mapping[str, str]) -> str:
    return security.get("security.protocol", "plaintext").lower()


def _agree(security: Mapping[str, str], protocol: str, word: str, prefixes: tuple[str, ...], remedy: str) -> None:
    """Properties that only `word` uses, under a protocol without it, are a mistake: traffic would travel in clear."""
    unused = sorted(name for name in security if name.startswith(prefixes))
    if unused and word not in protocol.split("_"):
        raise Misconfigured(
            f"{WHERE}: got {', '.join(unused)} with security.protocol {protocol}, which does not use them; "
            f"expected security.protocol {remedy}; set it, or remove them"
        )


def _ask_librdkafka(security: Mapping[str, str]) -> None:
    try:
        configuration: dict[str, Any] = {"log_level": 0, "error_cb": lambda _error: None, **security}
        AdminClient(configuration)
    except KafkaException as error:
        complaint = without_values(error.args[0].str(), security)
        raise Misconfigured(
            f"{WHERE}: librdkafka refuses it ({complaint}), expected properties that fit together and files that can "
            "be read; correct the property it names"
        ) from None


def without_values(text: str, security: Mapping[str, str]) -> str:
    """A text with every value below `security` as ***."""
    for value in sorted(filter(None, security.values()), key=len, reverse=True):
        text = re.sub(rf"(?<![\w.]){re.escape(value)}(?![\w.])", "***", text)
    return text


def contradiction(settings: Settings) -> str:
    """What is wrong where a port answers and does not speak what FOREBAY_SECURITY says; empty where nothing shows."""
    address = settings.bootstrap.split(",")[0]
    wanted = _protocol(settings.security).endswith("ssl")
    spoken = _speaks_tls(address)
    if wanted and spoken is False:
        return (
            f"{address} answers, but not in TLS, which {WHERE} asks for; name the port of the TLS listener in "
            "FOREBAY_BOOTSTRAP, or set security.protocol to plaintext or sasl_plaintext"
        )
    if spoken and not wanted:
        return (
            f"{address} answers in TLS, which {WHERE} does not ask for; set security.protocol to ssl or sasl_ssl "
            "(docs/operations.md has an example)"
        )
    return ""


def _speaks_tls(address: str) -> bool | None:
    """Whether a port begins a TLS handshake; None where nobody listens, or says nothing in time."""
    host, _, port = address.rpartition(":")
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # only whether it speaks TLS; nothing is sent
    try:
        with socket.create_connection((host.strip("[]"), int(port)), PROBE_S) as connection:
            try:
                with context.wrap_socket(connection):
                    return True
            except TimeoutError:
                return None
            except ssl.SSLError as error:
                # A server that wants our certificate, or another version of TLS, says so in TLS.
                return "ALERT" in (error.reason or "")
            except OSError:
                return False
    except (OSError, ValueError):
        return None
