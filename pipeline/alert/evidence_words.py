"""Evidence in words: a sentence for each kind, from `evidence.toml`, filled in with the facts of a flow."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from string import Template
from typing import Any

import numpy as np

from pipeline.alert.shown_evidence import SAID, Example, ShownEvidence, name_of
from pipeline.alert.techniques import SEVERITY
from pipeline.alert.wording import listed, printable_name
from pipeline.contracts.baseline import COUNTED, Evidence
from pipeline.contracts.function_words import function_words, industrial_name
from pipeline.contracts.initiators import UNORDERED
from pipeline.contracts.public_addresses import is_public
from pipeline.contracts.service_names import service_words
from pipeline.contracts.services import ethertype_words, is_answer, is_ephemeral, protocol_words
from pipeline.errors import Misconfigured
from pipeline.runtime.terminal import printable

MAX_SENTENCE = 256
TCP, UDP = 6, 17
NO_PORT = " (port not known)"

FLOW_WORDS = frozenset(
    {
        *("from", "to", "source", "target", "user", "owner", "service", "protocol", "by", "industrial", "functions"),
        *("address", "hardware", "count", "device", "sent", "distance", "others"),
    }
)
INCIDENT_WORDS = frozenset({"evidence", "sources", "targets", "sensor", "flows", "duration"})


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of evidence in words; undirected and others may be missing (evidence.toml)."""

    name: str
    bit: Evidence
    title: str
    says: Template
    undirected: Template | None
    others: Template | None
    severity_id: int
    confidence: int


@dataclass(frozen=True, slots=True)
class EvidenceWords:
    """All kinds, the strongest first, and the message of an incident that has no other name."""

    says: Template
    kinds: tuple[Kind, ...]


@dataclass(frozen=True, slots=True)
class Sentence:
    """A kind of evidence that an incident has: what is said of it, and how many of its flows have it."""

    kind: Kind
    says: str
    flows: int
    example: Example


def sentences(shown: ShownEvidence, words: EvidenceWords) -> list[Sentence]:
    """A sentence for each kind of evidence there is, the strongest first."""
    return [
        Sentence(kind, sentence(kind, example), shown.counts[kind.name], example)
        for kind in words.kinds
        if (example := shown.examples.get(kind.name)) is not None
    ]


def sentence(kind: Kind, example: Example) -> str:
    """What a kind of evidence says of a flow."""
    facts = _words(kind.bit, example)
    undirected = kind.undirected if example.source_type == UNORDERED else None
    says = (undirected or kind.says).substitute(facts)
    if kind.others is not None and undirected is None and kind.bit & _counted(example):
        says += f"; {kind.others.substitute(facts)}"
    return printable(says, MAX_SENTENCE)


def _counted(example: Example) -> Evidence:
    """The kinds that the column `others` of this flow is about."""
    if example.others is None:
        return Evidence(0)
    return next((bits for bits in COUNTED if bits & example.evidence), Evidence(0))


def _words(bit: Evidence, example: Example) -> dict[str, str]:
    source, target = _end(example.src_addr), _end(example.dst_addr)
    answers = _answers(example)
    owner, service = source if answers else target, _service(example, answers)
    sent = example.rev_bytes if answers else example.fwd_bytes
    address, hardware, count = _at_hardware(bit, example)
    others = example.others or 0
    return {
        "from": printable_name(example.src_addr),
        "to": printable_name(example.dst_addr),
        "source": source,
        "target": target,
        "user": target if answers else source,
        "owner": owner,
        "service": service,
        "protocol": _protocol(example),
        "by": service if service.endswith(NO_PORT) else f"{service} of {owner}",
        "industrial": industrial_name(example.ics_proto),
        "functions": _functions(example),
        "address": printable_name(address),
        "hardware": printable_name(hardware or "one that is not known"),
        "count": str(count or "several"),
        "device": _device(example),
        "sent": f"{sent or 0:,} bytes",
        "distance": _distance(example),
        "others": "no other source is" if not others else f"{others:,} other source{' is' if others == 1 else 's are'}",
    }


def _end(address: str) -> str:
    """An address; public ones count as one."""
    name = printable_name(address)
    return f"{name} (or any other public address)" if is_public(address) else name


def _ports(example: Example) -> tuple[np.ndarray[Any, np.dtype[np.int64]], np.ndarray[Any, np.dtype[np.int64]]]:
    ports = (-1 if port is None else port for port in (example.src_port, example.dst_port))
    src, dst = (np.array([port], np.int64) for port in ports)
    return src, dst


def _answers(example: Example) -> bool:
    """Whether the flow goes from a service to who uses it, as the baseline takes it; by the ports where not noted."""
    return bool(is_answer(*_ports(example))[0]) if example.answers is None else example.answers


def _device(example: Example) -> str:
    hardware = printable_name(example.src_mac or "not known")
    return hardware if example.src_mac == example.src_addr else f"{hardware} of {printable_name(example.src_addr)}"


def _protocol(example: Example) -> str:
    if example.ip_proto is None:
        return ethertype_words(example.ether_type or 0)
    return protocol_words(example.ip_proto)


def _service(example: Example, answers: bool) -> str:
    protocol = _protocol(example)
    if example.ip_proto not in (TCP, UDP):
        return protocol
    src, dst = _ports(example)
    port = src if answers else dst
    if port[0] < 0:
        return f"{protocol}{NO_PORT}"
    of_clients = " (or any other ephemeral port)" if is_ephemeral(port)[0] else ""
    return service_words(example.ip_proto, int(port[0])) + of_clients


def _functions(example: Example) -> str:
    """What it was asked for, and by which functions."""
    name, codes = industrial_name(example.ics_proto), [str(code) for code in example.functions]
    if not codes:
        return f"a function of {name}"
    if len(codes) == 1:
        return f"{name} function {codes[0]} ({function_words(example.ics_proto, example.functions[0])})"
    said = [f"{code} ({function_words(example.ics_proto, int(code))})" for code in codes]
    return f"one of {name} functions {listed(said)}"


def _at_hardware(bit: Evidence, example: Example) -> tuple[str, str | None, int | None]:
    """The address that evidence of hardware is about, its hardware address, and at how many it was."""
    ends = {
        Evidence.AT_SOURCE: (example.src_addr, example.src_mac, example.src_mac_count),
        Evidence.AT_TARGET: (example.dst_addr, example.dst_mac, example.dst_mac_count),
    }
    is_several = bit == Evidence.SEVERAL_HARDWARE
    fitting = [end for at, end in ends.items() if at & example.evidence and ((end[2] or 1) > 1) == is_several]
    return (fitting or list(ends.values()))[0]


def _distance(example: Example) -> str:
    if example.strangeness is None:
        return "nothing usual is known yet"
    return f"distance {example.strangeness:.2f}, usual up to {example.strange_from or 0:.2f}"


def read_evidence_words(text: str) -> EvidenceWords:
    """The words in a TOML text; Misconfigured names what is wrong."""
    try:
        document = tomllib.loads(text)
        says = _template("says", document["says"], INCIDENT_WORDS)
        kinds = tuple(_kind(entry) for entry in document["kind"])
    except tomllib.TOMLDecodeError as error:
        raise Misconfigured(f"evidence.toml: got no TOML ({error}); correct it") from error
    except KeyError as error:
        raise Misconfigured(f"evidence.toml: {error} is missing; compare with the shipped file") from error
    names, expected = [kind.name for kind in kinds], sorted(name_of(bit) for bit in SAID)
    if sorted(names) != expected:
        raise Misconfigured(f"evidence.toml: got kinds {', '.join(names)}, expected each once of {', '.join(expected)}")
    return EvidenceWords(says, kinds)


def _kind(entry: Mapping[str, Any]) -> Kind:
    name = str(entry["name"])
    where = f"kind {name}"
    by_name = {name_of(bit): bit for bit in SAID}
    if name not in by_name:
        raise Misconfigured(f"evidence.toml {where}: expected one of {', '.join(by_name)}")
    severity, confidence = entry["severity"], entry["confidence"]
    if severity not in SEVERITY:
        raise Misconfigured(f"evidence.toml {where}: got severity {severity!r}, expected {', '.join(SEVERITY)}")
    if type(confidence) is not int or not 0 <= confidence <= 100:
        raise Misconfigured(f"evidence.toml {where}: got confidence {confidence!r}, expected 0 to 100")
    optional = {
        word: _template(f"{where} {word}", entry[word], FLOW_WORDS) if word in entry else None
        for word in ("undirected", "others")
    }
    says = _template(f"{where} says", entry["says"], FLOW_WORDS)
    return Kind(
        name,
        by_name[name],
        str(entry["title"]),
        says,
        **optional,
        severity_id=SEVERITY[severity],
        confidence=confidence,
    )


def _template(where: str, text: Any, words: frozenset[str]) -> Template:
    template = Template(str(text))
    unknown = set(template.get_identifiers()) - words
    if unknown or not template.is_valid():
        raise Misconfigured(f"evidence.toml {where}: got {sorted(unknown)}, expected {sorted(words)}")
    return template


@cache
def shipped_evidence_words() -> EvidenceWords:
    """The words shipped with Forebay."""
    return read_evidence_words(files("pipeline.alert").joinpath("evidence.toml").read_text(encoding="utf-8"))
