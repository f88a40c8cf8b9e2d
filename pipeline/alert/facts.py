"""What an incident's flows did, in words: who did what with whom, how often, how it went, how long, since when."""

from dataclasses import dataclass
from datetime import UTC, datetime

from pipeline.alert.done import TCP, TRANSPORTS, UDP
from pipeline.alert.incident import Incident
from pipeline.alert.phrases import Phrases, shipped_phrases
from pipeline.alert.uses import SEVERAL_PORTS, Reported, Use, reported
from pipeline.alert.wording import counted, duration, flows, listed, printable_name, times
from pipeline.contracts.function_words import function_weight, function_words, industrial_name
from pipeline.contracts.group_addresses import group_of
from pipeline.contracts.service_names import port_words, service_of, service_words
from pipeline.contracts.services import EPHEMERAL, INDUSTRIAL_PORTS, ethertype_words, protocol_words

REPORTED_USES = 2
REPORTED_FUNCTIONS = 3
NAMED_TARGETS = 2
NAMED_SOURCES = 2
MAX_TIME_S = 253_402_300_799
SHORT_US = 1_000_000


@dataclass(frozen=True, slots=True)
class Facts:
    """The facts in words. title: the first of them alone, without a time. says: all of them."""

    title: str
    says: str


def facts_of(incident: Incident, phrases: Phrases | None = None) -> Facts:
    """What the incident's flows did."""
    words = phrases or shipped_phrases()
    what = reported(incident, REPORTED_USES)
    subject = printable_name(what.source) if what.source else counted(what.sources, what.more_sources, "addresses")
    clauses = [_clause(use, words) for use in what.uses]
    rest = _rest(what, subject, words)
    first = f"{subject} {clauses[0]}" if clauses else f"{subject}: {rest.pop(0)}"
    span_us = incident.end_ts_us - incident.start_ts_us
    lasts = incident.count > 1 or span_us >= SHORT_US
    lasted = "sentence.lasted_one" if incident.count == 1 else "sentence.lasted"
    says = words["sentence.facts"].substitute(
        clauses="; ".join([first, *clauses[1:], *rest, *_without_ports(incident, what, words)]),
        lasted=words[lasted].substitute(duration=duration(span_us)) if lasts else "",
        since=moment(incident.start_ts_us),
        where=f"{printable_name(incident.site)}/{printable_name(incident.sensor)}",
    )
    return Facts(first, says)


def moment(time_us: int) -> str:
    """A time of day in UTC, to the second."""
    time_s = min(max(time_us // 1_000_000, 0), MAX_TIME_S)
    return datetime.fromtimestamp(time_s, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _rest(what: Reported, subject: str, words: Phrases) -> list[str]:
    names = what.other_sources
    if not names:
        others = "others"
    elif len(names) > NAMED_SOURCES or what.more_others:
        others = counted(len(names), what.more_others, "others")
    else:
        others = listed([printable_name(name) for name in names])
    parts = []
    for name, number in (("same", what.same), ("others", what.others)):
        if number:
            phrase = words[f"rest.one_{name}" if number == 1 else f"rest.{name}"]
            parts.append(phrase.safe_substitute(count=f"{number:,}", subject=subject, others=others))
    return parts


def _without_ports(incident: Incident, what: Reported, words: Phrases) -> list[str]:
    """Of which protocols no port is known, or not of all flows: of these nobody can say which service it was."""
    lacking = {use.ip_proto for use in what.uses if use.ip_proto in TRANSPORTS and not use.ports and not use.requests}
    if not lacking:
        return []
    known = {deed.ip_proto for deed in incident.deeds.of.values() if deed.port >= 0}
    name = "some_ports" if lacking & known or incident.deeds.flows < incident.count else "no_ports"
    return [words[f"rest.{name}"].substitute(protocols=listed(sorted(map(protocol_words, lacking))))]


def _clause(use: Use, words: Phrases) -> str:
    facts = {
        "count": counted(use.flows, use.more, ""),
        "flows": flows(use.flows, use.more),
        "service": _connections(use),
        "what": _what(use),
        "ports": _ports(use),
        "targets": _targets(use),
    }
    if use.requests:
        says = words["clauses.requests"].substitute(
            functions=_functions(use, words), targets=facts["targets"], protocol=_protocol(use), flows=facts["flows"]
        )
        if use.counts["exceptions"]:
            says += words["outcomes.exceptions"].substitute(times=times(use.counts["exceptions"], use.more))
        return says
    return words[f"clauses.{_kind(use)}"].substitute(facts) + _outcome(use, words)


def _kind(use: Use) -> str:
    """The phrase that is true of it."""
    if len(use.ports) >= SEVERAL_PORTS:
        return "tried" if use.directed else "shared"
    if not use.directed:
        return "exchanged"
    if use.ip_proto != TCP:
        return "sent"
    return "opened" if use.counts["opened"] == use.flows else "had"


def _outcome(use: Use, words: Phrases) -> str:
    says = ""
    for name in ("unanswered", "refused"):
        number = use.counts[name]
        if number == use.flows and not use.more:
            says += words[f"outcomes.{name}"].substitute()
        elif number:
            says += words[f"outcomes.{name}_some"].substitute(count=counted(number, use.more, ""))
    if use.counts["attempts"] and use.counts["opened"] < use.flows:
        says += words["outcomes.attempts"].substitute(
            attempts="1 connection attempt"
            if use.counts["attempts"] == 1 and not use.more
            else counted(use.counts["attempts"], use.more, "connection attempts")
        )
    return says


def _port(use: Use) -> tuple[int, int] | None:
    return next(iter(use.ports)) if len(use.ports) == 1 else None


def _at_port(use: Use) -> str:
    """The port in brackets' words: `tcp/102`; nothing where none is known."""
    port = _port(use)
    if port is None:
        return ""
    is_clients = port[1] >= EPHEMERAL and port[1] not in INDUSTRIAL_PORTS
    return f"{port_words(*port)}, an ephemeral port" if is_clients else port_words(*port)


def _connections(use: Use) -> str:
    """`S7 connections (tcp/102)`, `TCP flows`; flows where it is not known that they were connections."""
    port = _port(use)
    service = service_of(*port) if port else None
    name = service.name if service else "TCP" if port is None else ""
    noun = "connection" if _kind(use) == "opened" else "flow"
    plural = noun if use.flows == 1 and not use.more else f"{noun}s"
    return f"{name} {plural}{f' ({at})' if (at := _at_port(use)) else ''}".strip()


def _what(use: Use) -> str:
    """What is sent: `DNS queries (udp/53)`, `arp`."""
    if use.ip_proto not in (TCP, UDP):
        words = ethertype_words(use.ether_type) if use.ip_proto < 0 else protocol_words(use.ip_proto)
        return words.upper() if words.isalpha() else words
    port = _port(use)
    service = service_of(*port) if port else None
    if port is None:
        return protocol_words(use.ip_proto).upper()
    if service is None or not use.directed:
        return service_words(*port)
    sends = service.sends or service.name
    return f"{sends.removesuffix(')')}, {_at_port(use)})" if sends.endswith(")") else f"{sends} ({_at_port(use)})"


def _ports(use: Use) -> str:
    protocols = " and ".join(sorted({protocol_words(ip_proto) for ip_proto, _ in use.ports}))
    return counted(len(use.ports), use.more, f"{protocols} ports")


def _targets(use: Use) -> str:
    """Whom: by name where they are few."""
    if not use.targets:
        return "itself"
    names = [name for name, _ in sorted(use.targets.items(), key=lambda item: (-item[1], item[0]))]
    if len(names) > NAMED_TARGETS or use.more_targets:
        return counted(len(names), use.more_targets, "addresses")
    return listed([_target(name) for name in names])


def _target(address: str) -> str:
    name, whom = printable_name(address), group_of(address)
    return f"{whom} ({name})" if whom else name


def _protocol(use: Use) -> str:
    name, port = industrial_name(use.industrial), _port(use)
    return f"{name} ({port_words(*port)})" if port else name


def _functions(use: Use, words: Phrases) -> str:
    """What was asked for: what changes a device first, then what writes, then what is rare, and reading last."""
    if not use.functions:
        asked = [(name, use.counts[name]) for name in ("controls", "writes", "reads") if use.counts[name]]
        return listed([words[f"requests.{name}"].substitute(times=times(number, use.more)) for name, number in asked])
    said = {code: function_words(use.industrial, code) for code in use.functions}
    weight = {code: function_weight(use.industrial, code) for code in said}
    order = sorted(said, key=lambda code: (-weight[code], said[code].startswith("read"), use.functions[code], code))
    parts = [
        words["requests.function"].substitute(says=said[code], code=code, times=times(use.functions[code], use.more))
        for code in order[:REPORTED_FUNCTIONS]
    ]
    if left := len(order) - REPORTED_FUNCTIONS:
        noun = "other function" if left == 1 and not use.more_functions else "other functions"
        if left > 0:
            parts.append(words["requests.further"].substitute(count=counted(left, use.more_functions, noun)))
    return listed(parts)
