"""What a device is guessed to be, how sure that is, and the sentence why: rules of `roles.toml` on its edges.

Every number in a sentence is a count over the device's edges (`count`), which is what the property tests count again.
"""

import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from string import Template
from typing import Any

from pipeline.errors import Misconfigured
from pipeline.tools.assets.devices import Device, Edge

FILE = "roles.toml"
CONFIDENCE = ("high", "medium", "low")
UNKNOWN = "unknown"
SHOWN_SERVICES = 3
"""Services that a sentence names: more are a list, not a reason."""
HOUR_US = 3_600_000_000
MAX_WORDS = 48
"""Characters of one service's words in a sentence; the names in them come from the network."""


@dataclass(frozen=True, slots=True)
class Selector:
    """Which edges are of a service: by port, by the sensor's name of the protocol, by industrial records."""

    ports: frozenset[int] = frozenset()
    names: frozenset[str] = frozenset()
    protocols: frozenset[str] = frozenset()

    def has(self, edge: Edge) -> bool:
        """Whether an edge is of it."""
        service = edge.service
        by_port = service.transport in (6, 17) and service.port in self.ports
        return by_port or service.app in self.names or (service.ics != "" and service.ics in self.protocols)


@dataclass(frozen=True, slots=True)
class Need:
    """One need of a role: what is counted, of which service, within which bounds, and its noun."""

    count: str
    service: str
    least: int
    most: int | None
    noun: str


@dataclass(frozen=True, slots=True)
class Role:
    """A role and what it needs."""

    name: str
    title: str
    confidence: str
    says: Template
    needs: Mapping[str, Need]


@dataclass(frozen=True, slots=True)
class Roles:
    """All roles, in the order in which they are tried."""

    roles: tuple[Role, ...]
    services: Mapping[str, Selector]
    programming: Mapping[str, frozenset[int]]

    @property
    def names(self) -> list[str]:
        """Each role's name once, in order, and `unknown` last."""
        return [*dict.fromkeys(role.name for role in self.roles), UNKNOWN]


@dataclass(frozen=True, slots=True)
class Guess:
    """A device's role; why: a sentence that is true of its flows. also: further roles whose needs are met."""

    role: str
    title: str
    confidence: str | None
    why: str
    also: tuple[str, ...] = ()


def guess(device: Device, roles: "Roles | None" = None) -> Guess:
    """Of the roles whose needs are all met, the first one with the most confidence."""
    table = roles if roles is not None else shipped()
    met: list[tuple[Role, dict[str, int]]] = []
    for role in table.roles:
        numbers = {name: count(device, need, table) for name, need in role.needs.items()}
        if all(_is_met(need, numbers[name]) for name, need in role.needs.items()):
            met.append((role, numbers))
    if not met:
        return Guess(UNKNOWN, UNKNOWN, None, _why_unknown(device))
    role, numbers = min(met, key=lambda each: CONFIDENCE.index(each[0].confidence))
    also = tuple(dict.fromkeys(other.name for other, _ in met if other.name != role.name))
    return Guess(role.name, role.title, role.confidence, _sentence(device, role, numbers, table), also)


def _is_met(need: Need, number: int) -> bool:
    return number >= need.least and (need.most is None or number <= need.most)


def _sentence(device: Device, role: Role, numbers: Mapping[str, int], table: Roles) -> str:
    words = {name: f"{number:,}" for name, number in numbers.items()}
    words |= {f"{name}_words": _counted(numbers[name], need.noun) for name, need in role.needs.items()}
    words |= {f"{name}_by": _by(counted_edges(device, need, table)) for name, need in role.needs.items()}
    return role.says.substitute(words)


def _counted(number: int, noun: str) -> str:
    several = f"{noun}es" if noun.endswith("s") else f"{noun}s"
    return f"{number:,} {noun if number == 1 else several}"


def _by(edges: Iterable[Edge]) -> str:
    """The services of edges, those with most flows first: 502/tcp (modbus) and 102/tcp."""
    flows: dict[str, int] = {}
    for edge in edges:
        words = edge.service.words[:MAX_WORDS]
        flows[words] = flows.get(words, 0) + edge.flows
    names = sorted(flows, key=lambda words: (-flows[words], words))
    if len(names) > SHOWN_SERVICES:
        names = [*names[:SHOWN_SERVICES], f"{len(names) - SHOWN_SERVICES} more"]
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


def _why_unknown(device: Device) -> str:
    answered, asked = (sum(edge.answered for edge in edges) for edges in (device.serves, device.uses))
    if not answered and not asked:
        return f"was in {_counted(device.flows, 'flow')}, none of which was answered"
    if all(edge.service.port < 0 for edge in (*device.serves, *device.uses)):
        return f"was in {_counted(device.flows, 'flow')}, of which the sensor gives no ports"
    return f"answered {_counted(answered, 'flow')} and was answered in {asked:,}: nothing that only one role does"


def counted_edges(device: Device, need: Need, roles: Roles) -> list[Edge]:
    """The edges over which a need's number is counted."""
    if need.count not in COUNTS:
        return []
    edges = device.serves if need.count.startswith(("answered_", "received_")) else device.uses
    chosen = [edge for edge in edges if not need.service or roles.services[need.service].has(edge)]
    return [edge for edge in chosen if _EVIDENCE[need.count](edge, roles) > 0]


def count(device: Device, need: Need, roles: Roles) -> int:
    """A need's number for a device."""
    if need.count == "carried":
        return device.carries
    if need.count == "carried_public":
        return int(device.carries_public)
    edges = counted_edges(device, need, roles)
    if need.count.endswith("_clients"):
        return len({edge.client for edge in edges})
    if need.count.endswith("_servers"):
        return len({edge.server for edge in edges})
    total = sum(_EVIDENCE[need.count](edge, roles) for edge in edges)
    if need.count == "programming_permille":
        requests = sum(number for edge in device.uses for _, number in edge.functions)
        return 1_000 * total // max(1, requests)
    if need.count == "reads_hourly" and edges:
        span_us = max(edge.span.last_us for edge in edges) - min(edge.span.first_us for edge in edges)
        return total * HOUR_US // max(HOUR_US, span_us)
    return total


def _programmed(edge: Edge, roles: Roles) -> int:
    codes = roles.programming.get(edge.service.ics, frozenset[int]())
    return sum(requests for code, requests in edge.functions if code in codes)


def _operations(edge: Edge, _: Roles) -> int:
    known = edge.reads + edge.writes + edge.controls + edge.exceptions
    return known + sum(requests for _, requests in edge.functions)


# What each count counts on an edge.
_EVIDENCE: dict[str, Callable[[Edge, Roles], int]] = {
    "answered_clients": lambda edge, _: edge.answered,
    "answered_flows": lambda edge, _: edge.answered,
    "asked_servers": lambda edge, _: edge.answered,
    "asked_flows": lambda edge, _: edge.answered,
    "reads": lambda edge, _: edge.reads,
    "writes": lambda edge, _: edge.writes,
    "controls": lambda edge, _: edge.controls,
    "written_servers": lambda edge, _: edge.writes,
    "controlled_servers": lambda edge, _: edge.controls,
    "programmed_servers": _programmed,
    "programming": _programmed,
    "programming_permille": _programmed,
    "reads_hourly": lambda edge, _: edge.reads,
    "asked_operations": _operations,
    "received_operations": _operations,
}
COUNTS = frozenset(_EVIDENCE)
ALL_COUNTS = COUNTS | {"carried", "carried_public"}


def read_roles(text: str) -> Roles:
    """The roles in a TOML text; Misconfigured names what is wrong."""
    try:
        document = tomllib.loads(text)
        services = {
            name: Selector(*(frozenset(entry.get(key, ())) for key in ("ports", "names", "protocols")))
            for name, entry in document["services"].items()
        }
        programming = {proto: frozenset(codes) for proto, codes in document["programming"].items()}
        roles = tuple(_role(number, entry, services) for number, entry in enumerate(document["role"]))
    except tomllib.TOMLDecodeError as error:
        raise Misconfigured(f"{FILE}: got no TOML ({error}); correct it") from error
    except KeyError as error:
        raise Misconfigured(f"{FILE}: {error} is missing; compare with the shipped file") from error
    return Roles(roles, services, programming)


def _role(number: int, entry: Mapping[str, Any], services: Mapping[str, Selector]) -> Role:
    where = f"{FILE} role[{number}] {entry['name']}"
    if entry["confidence"] not in CONFIDENCE:
        raise Misconfigured(f"{where}: got confidence {entry['confidence']!r}, expected {', '.join(CONFIDENCE)}")
    needs = {name: _need(f"{where}: needs.{name}", need, services) for name, need in entry["needs"].items()}
    says = Template(entry["says"])
    known = {f"{name}{part}" for name in needs for part in ("", "_words", "_by")}
    unknown = set(says.get_identifiers()) - known
    if unknown or not says.is_valid():
        raise Misconfigured(f"{where}: got {sorted(unknown)} in `says`, expected {', '.join(sorted(known))}")
    return Role(entry["name"], entry["title"], entry["confidence"], says, needs)


def _need(where: str, entry: Mapping[str, Any], services: Mapping[str, Selector]) -> Need:
    service, most = entry.get("service", ""), entry.get("max")
    if entry["count"] not in ALL_COUNTS:
        raise Misconfigured(f"{where}: got count {entry['count']!r}, expected {', '.join(sorted(ALL_COUNTS))}")
    if service and service not in services:
        raise Misconfigured(f"{where}: got service {service!r}, expected {', '.join(sorted(services))}")
    return Need(entry["count"], service, entry.get("min", 1 if most is None else 0), most, entry.get("noun", "device"))


@cache
def shipped() -> Roles:
    """The roles shipped with Forebay."""
    return read_roles(files("pipeline.tools.assets").joinpath(FILE).read_text(encoding="utf-8"))
