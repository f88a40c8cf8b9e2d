"""A revision of an incident as outputs send it, read from its event and from the incident that it is part of.

All text in it is printable: no control characters, no marks of direction, no line ends.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any

from pipeline.alert.ocsf import SEVERITY_CAPTION
from pipeline.alert.pages import PAGE
from pipeline.errors import BadData
from pipeline.runtime.terminal import printable

VENDOR = PRODUCT = "Forebay"
PRODUCT_VERSION = version("forebay")
NEW, GROWN, ENDED = "new", "goes on", "ended"
ACTIVITY = {1: NEW, 2: GROWN, 3: ENDED}
MAX_TEXT, MAX_NAME, MAX_LISTED = 1_024, 128, 64


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One end of a conversation: an IP address, or another name; a hardware address where it is known."""

    ip: str = ""
    name: str = ""
    mac: str = ""

    @property
    def shown(self) -> str:
        """What people call it."""
        return self.ip or self.name or self.mac


@dataclass(frozen=True, slots=True)
class Talk:
    """Who spoke to whom, over which service. `port` is the target's; -1 where there is none."""

    source: Endpoint
    target: Endpoint
    port: int = -1
    protocol: str = ""
    community_id: str = ""
    flows: int = 0


@dataclass(frozen=True, slots=True)
class Technique:
    """A candidate technique of ATT&CK for ICS."""

    uid: str
    name: str
    tactic_uid: str = ""
    tactic: str = ""


@dataclass(frozen=True, slots=True)
class Revision:
    """What is sent once. `key` names it for good: a receiver that sees one twice has seen a repeat.

    `uid` is the incident's, of several sensors' alerts the joined one's; times are those of the traffic.
    """

    key: str
    uid: str
    number: int
    activity: str
    site: str
    sensors: tuple[str, ...]
    is_page: bool
    disposition: str
    severity_id: int
    confidence: int
    title: str
    says: str
    class_name: str
    techniques: tuple[Technique, ...]
    flows: int
    opened_us: int
    first_us: int
    last_us: int
    modified_us: int
    talks: tuple[Talk, ...]
    reasons: tuple[str, ...]
    event: Mapping[str, Any] = field(repr=False)
    is_test: bool = False

    @property
    def severity(self) -> str:
        """The severity in a word."""
        return SEVERITY_CAPTION[self.severity_id]

    @property
    def sources(self) -> tuple[str, ...]:
        """The talking ends, each once."""
        return tuple(dict.fromkeys(talk.source.shown for talk in self.talks))

    @property
    def targets(self) -> tuple[str, ...]:
        """The ends spoken to, each once."""
        return tuple(dict.fromkeys(talk.target.shown for talk in self.talks))


def revision_of(event: Mapping[str, Any]) -> Revision:
    """The revision that an event of topic `alerts` is; BadData where it is not one of ours."""
    try:
        return _revision(event)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise BadData(f"alert: got an event without {error}, expected one of schemas/alert.json") from error


def _revision(event: Mapping[str, Any]) -> Revision:
    info, about, metadata = event["finding_info"], event["unmapped"], event["metadata"]
    severity_id, number = int(event["severity_id"]), int(metadata["sequence"])
    if severity_id not in SEVERITY_CAPTION:
        raise ValueError(f"a severity_id of 1 to 5: {severity_id}")
    uid, opened_us = text(info["uid"], MAX_NAME), int(about["opened_ts_us"])
    return Revision(
        key=f"{uid}-{number}",
        uid=uid,
        number=number,
        activity=ACTIVITY[event["activity_id"]],
        site=text(about["site"], MAX_NAME),
        sensors=(text(about["sensor"], MAX_NAME),),
        is_page=about.get("disposition", PAGE) == PAGE,
        disposition=text(about.get("disposition_says", "")),
        severity_id=severity_id,
        confidence=min(max(int(event["confidence_score"]), 0), 100),
        title=text(about.get("name") or info["title"], MAX_NAME),
        says=text(event["message"]),
        class_name=text(about["class"], MAX_NAME),
        techniques=techniques_of(event),
        flows=max(int(event["count"]), 0),
        opened_us=opened_us,
        first_us=int(about.get("first_ts_us", opened_us)),
        last_us=int(about.get("last_ts_us", opened_us)),
        modified_us=max(opened_us, int(info.get("modified_time", 0)) * 1000),
        talks=talks_of(event),
        reasons=tuple(text(reason["says"]) for reason in about.get("reasons", [])[:MAX_LISTED]),
        event=event,
    )


def techniques_of(event: Mapping[str, Any]) -> tuple[Technique, ...]:
    """The candidate techniques of an event, the sub-technique where there is one."""
    found = []
    for attack in event.get("attacks", [])[:MAX_LISTED]:
        named, tactic = attack.get("sub_technique") or attack["technique"], attack["tactic"]
        found.append(Technique(*(text(part, MAX_NAME) for part in (
            named["uid"], named["name"], tactic["uid"], tactic["name"],
        ))))  # fmt: skip
    return tuple(dict.fromkeys(found))


def talks_of(event: Mapping[str, Any]) -> tuple[Talk, ...]:
    """Who spoke to whom, of an event."""
    talks = []
    for each in event.get("evidences", [])[:MAX_LISTED]:
        connection, port = each["connection_info"], each["dst_endpoint"].get("port", -1)
        talks.append(
            Talk(
                _endpoint(each["src_endpoint"]),
                _endpoint(each["dst_endpoint"]),
                port if type(port) is int and 0 <= port < 65_536 else -1,
                text(connection.get("protocol_name", ""), MAX_NAME),
                text(connection.get("community_uid", ""), MAX_NAME),
                max(int(each.get("data", {}).get("flows", 0)), 0),
            )
        )
    return tuple(talks)


def _endpoint(given: Mapping[str, Any]) -> Endpoint:
    return Endpoint(*(text(given.get(name, ""), MAX_NAME) for name in ("ip", "name", "mac")))


def text(value: object, most: int = MAX_TEXT) -> str:
    """A text of an event, printable and cut; TypeError where it is none."""
    if not isinstance(value, str):
        raise TypeError(f"text: {type(value).__name__}")
    return printable(value, most)


def merged_talks(events: Sequence[Mapping[str, Any]]) -> tuple[Talk, ...]:
    """The conversations of several alerts, each once: two sensors that see one report it twice."""
    talks: dict[tuple[object, ...], Talk] = {}
    for event in events:
        for talk in talks_of(event):
            talks.setdefault((talk.source.shown, talk.target.shown, talk.port, talk.protocol), talk)
    return tuple(talks.values())[:MAX_LISTED]
