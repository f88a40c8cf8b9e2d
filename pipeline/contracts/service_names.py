"""Services by IP protocol and port in words, from `service_names.toml`."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from pipeline.contracts.services import PROTOCOLS, protocol_words
from pipeline.errors import Misconfigured

INDUSTRIAL, REMOTE, FILES, SUPPORTING, OTHER = "industrial", "remote", "files", "supporting", ""
KINDS = (INDUSTRIAL, REMOTE, FILES, SUPPORTING, OTHER)
TRANSPORTS = {PROTOCOLS[number]: number for number in (6, 17)}
"""The IP protocols with ports, by the words that the table has for them."""
MAX_PORT = 65_535


@dataclass(frozen=True, slots=True)
class ServiceName:
    """A service: its name, what is sent where it has no connections, and what it touches (`KINDS`)."""

    name: str
    sends: str
    kind: str


ServiceNames = Mapping[tuple[int, int], ServiceName]
"""By IP protocol and port."""


def read_service_names(text: str) -> ServiceNames:
    """The services in a TOML text, the first of a port; Misconfigured names what is wrong."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise Misconfigured(f"service_names.toml: got no TOML ({error}); correct it") from error
    names: dict[tuple[int, int], ServiceName] = {}
    for entry in document.get("service", []):
        unknown = set(entry) - {"name", "kind", "sends", *TRANSPORTS}
        service = ServiceName(str(entry.get("name", "")), str(entry.get("sends", "")), str(entry.get("kind", OTHER)))
        where = f"service_names.toml service {service.name!r}"
        if unknown or not service.name or service.kind not in KINDS:
            expected = f"a name, a kind of {', '.join(filter(None, KINDS))}, sends, {' and '.join(TRANSPORTS)}"
            raise Misconfigured(f"{where}: got {sorted(entry)} and kind {service.kind!r}, expected {expected}")
        for transport, number in TRANSPORTS.items():
            for port in entry.get(transport, []):
                if type(port) is not int or not 0 <= port <= MAX_PORT:
                    raise Misconfigured(f"{where}: got port {port!r}, expected 0 to {MAX_PORT}")
                names.setdefault((number, port), service)
    return names


@cache
def shipped_service_names() -> ServiceNames:
    """The services shipped with Forebay."""
    return read_service_names(files("pipeline.contracts").joinpath("service_names.toml").read_text(encoding="utf-8"))


def service_of(ip_proto: int | None, port: int | None) -> ServiceName | None:
    """The service of a port; None where none is known."""
    return None if ip_proto is None or port is None else shipped_service_names().get((ip_proto, port))


def port_words(ip_proto: int, port: int) -> str:
    """A port with its protocol: `tcp/102`."""
    return f"{protocol_words(ip_proto)}/{port}"


def service_words(ip_proto: int, port: int) -> str:
    """A service by name and port: `S7 (tcp/102)`, or the port alone."""
    service = service_of(ip_proto, port)
    return f"{service.name} ({port_words(ip_proto, port)})" if service else port_words(ip_proto, port)
