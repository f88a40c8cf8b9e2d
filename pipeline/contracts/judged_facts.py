"""What an incident is made of, as verdicts compare it: conversations, techniques, class, severity. Pure.

A *talk* is who spoke with whom by which service: {source, target, port, proto, flows, directed, functions}. Where a
sensor does not know who began (`directed` false), a talk is the same either way round.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pipeline.contracts.verdict_scopes import address_form

MAX_FUNCTIONS = 16
"""Functions of a deed that an alert lists (pipeline/alert/deeds.py): one that has as many may have more."""

UNKNOWN_PROTO = "unknown"
MAX_TALKS = 64
MAX_TECHNIQUES = 64
SHOWN = 3

Facts = dict[str, Any]
TalkKey = tuple[str, str, int | None, str]


def talks_of(alerts: Iterable[Mapping[str, Any]]) -> Facts:
    """What documents of incidents bear under these names, from the incident's alerts (schemas/alert.json).

    talks : conversations, those of most flows first
    talks_left_out : flows of conversations that the alerts do not list
    all_sources, all_targets : whether every address that began, or was spoken to, is listed
    """
    talks: dict[tuple[Any, ...], Facts] = {}
    left_out, all_sources, all_targets = 0, True, True
    for alert in alerts:
        about, listed = alert["unmapped"], alert.get("evidences", [])
        directed = bool(about.get("directed", False))
        did = _functions(about.get("did", []))
        of_alert = [_talk(each, directed, did) for each in listed]
        for talk in of_alert:
            key = (*key_of(talk), directed)
            known = talks.setdefault(key, {**talk, "flows": 0})
            known["flows"] += talk["flows"]
            known["functions"] = _distinct([*known["functions"], *talk["functions"]])
        missing = max(0, int(alert.get("count", 0)) - sum(talk["flows"] for talk in of_alert))
        left_out += missing
        sources, targets = ({talk[end] for talk in of_alert} for end in ("source", "target"))
        all_sources &= not missing or (len(sources) == about.get("sources") and not about.get("more_sources"))
        complete = len(targets) == about.get("destinations") and not about.get("more_destinations")
        all_targets &= not missing or (directed and complete)
    ordered = sorted(talks.values(), key=lambda talk: (-talk["flows"], str(key_of(talk))))
    left_out += sum(talk["flows"] for talk in ordered[MAX_TALKS:])
    whole = len(ordered) <= MAX_TALKS
    return {
        "talks": ordered[:MAX_TALKS],
        "talks_left_out": left_out,
        "all_sources": all_sources and whole,
        "all_targets": all_targets and whole,
    }


def _functions(did: Iterable[Mapping[str, Any]]) -> dict[tuple[str, str], list[Facts]]:
    """The industrial functions by who asked for them and the service; none where not all may be listed."""
    functions = {}
    for deed in did:
        protocol, _, service = str(deed["service"]).rpartition(" (")
        listed = deed.get("functions", [])
        if listed and protocol and len(listed) < MAX_FUNCTIONS:
            named = [{"protocol": protocol, "function": f"{each['says']} ({each['code']})"} for each in listed]
            functions[address_form(str(deed["source"])), service.rstrip(")")] = named
    return functions


def _talk(evidence: Mapping[str, Any], directed: bool, did: Mapping[tuple[str, str], list[Facts]]) -> Facts:
    source, target = (_address(evidence.get(end, {})) for end in ("src_endpoint", "dst_endpoint"))
    port = evidence.get("dst_endpoint", {}).get("port")
    proto = evidence.get("connection_info", {}).get("protocol_name", UNKNOWN_PROTO)
    return {
        "source": source,
        "target": target,
        "port": port,
        "proto": proto,
        "flows": int(evidence.get("data", {}).get("flows", 0)),
        "directed": directed,
        "functions": did.get((source, f"{proto}/{port}"), []),
    }


def _address(endpoint: Mapping[str, Any]) -> str:
    return address_form(str(endpoint.get("ip") or endpoint.get("name") or endpoint.get("mac") or "unknown"))


def _distinct(functions: Sequence[Any]) -> list[Any]:
    return [each for at, each in enumerate(functions) if each not in functions[:at]]


def key_of(talk: Mapping[str, Any]) -> TalkKey:
    """What two talks are compared by."""
    return talk["source"], talk["target"], talk["port"], talk["proto"]


def ways_of(talk: Mapping[str, Any]) -> list[TalkKey]:
    """The key of a talk, and the other way round where nobody knows who began."""
    source, target, port, proto = key_of(talk)
    return [key_of(talk)] if talk["directed"] else [key_of(talk), (target, source, port, proto)]


def judged_facts(document: Mapping[str, Any]) -> Facts:
    """What a verdict notes of the incident that it is on, from its document."""
    names = ("source", "target", "port", "proto", "directed")
    return {
        "class": document["class"],
        "severity_id": document["severity_id"],
        "techniques": [each["uid"] for each in document["techniques"]][:MAX_TECHNIQUES],
        "talks": [{name: talk[name] for name in names} for talk in document["talks"]],
        "talks_left_out": document["talks_left_out"],
    }


def known_ways(judged: Mapping[str, Any]) -> frozenset[TalkKey]:
    """The keys of the talks that were judged."""
    return frozenset(way for talk in judged["talks"] for way in ways_of(talk))


def is_same_again(
    document: Mapping[str, Any], judged: Mapping[str, Any], known: frozenset[TalkKey] | None = None
) -> bool:
    """Whether an incident of the same site is nothing beyond what was judged.

    It is the same class, no more severe, by no other technique, and each of its talks was among those judged: who, with
    whom, by which service. Where an alert does not list all of its talks that cannot be known, so it is not the same.
    """
    if document["class"] != judged["class"] or document["severity_id"] > judged["severity_id"]:
        return False
    if document["talks_left_out"] or not document["talks"]:
        return False
    if not {each["uid"] for each in document["techniques"]} <= set(judged["techniques"]):
        return False
    known = known_ways(judged) if known is None else known
    return all(any(way in known for way in ways_of(talk)) for talk in document["talks"])


def beyond(document: Mapping[str, Any], judged: Mapping[str, Any]) -> list[str]:
    """What the incident has become since it was judged, in words; nothing where it is what it was.

    Of an incident whose talks are not all listed only new sources count: which of its talks are listed changes as it
    grows.
    """
    says = []
    if document["severity_id"] > judged["severity_id"]:
        says.append(f"is more severe: {document['severity']}")
    new = [each["uid"] for each in document["techniques"] if each["uid"] not in judged["techniques"]]
    says += [f"a new technique: {uid}" for uid in new[:SHOWN]]
    if judged["talks_left_out"] or document["talks_left_out"]:
        known = {end for talk in judged["talks"] for end in (talk["source"], talk["target"])}
        strange = [talk for talk in document["talks"] if talk["source"] not in known]
    else:
        ways = known_ways(judged)
        strange = [talk for talk in document["talks"] if not any(way in ways for way in ways_of(talk))]
    says += [f"new: {talk_words(talk)}" for talk in strange[:SHOWN]]
    return [*says, *([f"{len(strange) - SHOWN} more new conversations"] if len(strange) > SHOWN else [])]


def talk_words(talk: Mapping[str, Any]) -> str:
    """A talk in words: 10.0.0.7 with 10.0.0.20 by 502/tcp."""
    return f"{talk['source']} with {talk['target']} by {service_words(talk['port'], talk['proto'])}"


def service_words(port: int | None, proto: str) -> str:
    """A service in words: 502/tcp; of one without a port, the protocol."""
    return proto if port is None else f"{port}/{proto}"
