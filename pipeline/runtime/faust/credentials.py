"""librdkafka's security properties as Faust's credentials: one setting for both clients."""

from collections.abc import Mapping
from typing import Any

import faust
from aiokafka.helpers import create_ssl_context

from pipeline.errors import Misconfigured

KNOWN = {
    "security.protocol",
    "ssl.ca.location",
    "ssl.certificate.location",
    "ssl.key.location",
    "ssl.key.password",
    "sasl.mechanism",
    "sasl.mechanisms",
    "sasl.username",
    "sasl.password",
}


def credentials(security: Mapping[str, str]) -> Any:
    """Faust's credentials, or None for a plain connection; Misconfigured names what Faust cannot be configured with."""
    unknown = sorted(set(security) - KNOWN)
    if unknown:
        raise Misconfigured(
            f"security: got {', '.join(unknown)}, for which Faust's client has no counterpart; "
            f"known: {', '.join(sorted(KNOWN))}"
        )
    protocol = security.get("security.protocol", "plaintext").lower()
    context = None
    if protocol.endswith("ssl"):
        context = create_ssl_context(
            cafile=security.get("ssl.ca.location"),
            certfile=security.get("ssl.certificate.location"),
            keyfile=security.get("ssl.key.location"),
            password=security.get("ssl.key.password"),
        )
    if protocol.startswith("sasl"):
        return faust.SASLCredentials(
            username=security.get("sasl.username"),
            password=security.get("sasl.password"),
            ssl_context=context,
            mechanism=security.get("sasl.mechanism") or security.get("sasl.mechanisms"),
        )
    return faust.SSLCredentials(context) if context is not None else None
