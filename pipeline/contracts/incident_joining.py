"""One thing is one incident: alerts of a site that see the same are joined where they are read, in event time.

Stage 4 groups a sensor's suspects; two sensors that see the same, and one actor that reaches for many, are incidents of
several sensors and groups. Joining them is a pure function of the alerts' latest revisions: the same for every reader,
in whatever order and batches they came.

Three rules, each over alerts of one site that opened on one day (UTC):

- witnesses: at two sensors or more the same conversation (community id, or the pair of addresses), with no gap longer
  than GAP_US between them;
- one hub: the same address in the first HUB_PARTNERS pairs of alerts that name HUB_PARTNERS partners of it or more: a
  scan of many and a flood from many, GAP_US;
- one campaign: the same actor under the same name (`unmapped.name`: "Port scan"), with HUB_PARTNERS different targets
  in all, CAMPAIGN_GAP_US.

The pairs are those of the evidence and of `unmapped.pairs`, the first MAX_PAIRS that an incident had: what a revision
names, a later one names too, so it takes no pair away that two were joined by. An alert of a version before has those
of its evidence alone.

The day is the bound: what opened on different days is never joined, so an alert can touch those of its day alone
(`neighbourhood`), and a joined incident holds at most a day's alerts. Notices never join.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from pipeline.contracts.group_addresses import is_group_address
from pipeline.contracts.judged_facts import talks_of
from pipeline.contracts.verdict_scopes import MAX_US

Alert = Mapping[str, Any]
"""An event of topic `alerts` (schemas/alert.json)."""

GAP_US = 45_000_000
"""As long as an incident waits for further suspects (pipeline/alert/grouping.toml)."""
CAMPAIGN_GAP_US = 600_000_000
HUB_PARTNERS = 4
MAX_PAIRS = 32
"""Pairs that an alert names beside its evidence, and that are read of one."""
DAY_US = 86_400_000_000
MAX_COUNT = 2**48
"""No sensor counts as much; what is summed up over a day's alerts still is a number of 64 bits."""
MAX_UID = 128
CLOSE = 3
PAGE = "page"


class Neighbourhood(NamedTuple):
    """Which alerts a new one can be joined with: those of the site that opened from `from_us` to before `until_us`."""

    site: str
    from_us: int
    until_us: int


@dataclass(frozen=True)
class JoinedIncident:
    """Alerts that are one incident, earliest first by (opened_ts_us, uid); a notice is alone.

    Flows are counted once: `flows` is the number at the sensor that saw most, `flows_at` that of each sensor.
    """

    alerts: tuple[Alert, ...]

    @property
    def uid(self) -> str:
        """The earliest alert's uid."""
        return uid_of(self.alerts[0])

    @property
    def uids(self) -> tuple[str, ...]:
        """Every alert's uid: each names this incident."""
        return tuple(uid_of(alert) for alert in self.alerts)

    @property
    def site(self) -> str:
        """The site, the same for all."""
        return str(self.alerts[0]["unmapped"]["site"])

    @property
    def is_notice(self) -> bool:
        """Whether it is a notice of a sensor's baseline, which has no flows, or of suspects in no incident."""
        return "notice" in self.alerts[0]["unmapped"]

    @property
    def notice(self) -> str | None:
        """Which kind of notice it is; None of an incident, empty where the alert does not say."""
        if not self.is_notice:
            return None
        notice = self.alerts[0]["unmapped"]["notice"]
        return str(notice.get("kind", "")) if isinstance(notice, Mapping) else ""

    @property
    def is_open(self) -> bool:
        """Whether one of its alerts has not ended; a notice never is open."""
        return not self.is_notice and any(alert["activity_id"] != CLOSE for alert in self.alerts)

    @property
    def is_page(self) -> bool:
        """Whether one of its alerts is a page; one of a version before pages is one that nobody has held back."""
        return any(is_page(alert) for alert in self.alerts)

    @property
    def opened_us(self) -> int:
        """When the earliest opened (event time)."""
        return int(self.alerts[0]["unmapped"]["opened_ts_us"])

    @property
    def first_us(self) -> int:
        """Event time of the first flow: when it ended."""
        return min(int(alert["unmapped"].get("first_ts_us", self.opened_us)) for alert in self.alerts)

    @property
    def start_us(self) -> int:
        """When the first flow began, to the millisecond."""
        starts_ms = (alert.get("start_time") for alert in self.alerts)
        return min((1_000 * int(start_ms) for start_ms in starts_ms if start_ms is not None), default=self.first_us)

    @property
    def last_us(self) -> int:
        """Event time of the last flow."""
        return max(int(alert["unmapped"].get("last_ts_us", self.opened_us)) for alert in self.alerts)

    @cached_property
    def lead(self) -> Alert:
        """The alert that says it best: the gravest, then a page, then that of most flows, then the earliest."""
        return min(self.alerts, key=lambda alert: (-int(alert["severity_id"]), not is_page(alert), -alert["count"]))

    @cached_property
    def flows_at(self) -> dict[str, int]:
        """Flows by sensor, the sensor that saw most first."""
        flows = Counter[str]()
        for alert in self.alerts:
            flows[str(alert["unmapped"]["sensor"])] += int(alert["count"])
        return dict(sorted(flows.items(), key=lambda each: (-each[1], each[0])))

    @property
    def flows(self) -> int:
        """Flows at the sensor that saw most: the others may have seen the same ones."""
        return next(iter(self.flows_at.values()))

    @cached_property
    def ends(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Sources and targets that the alerts name, those of most flows first; none is both: where it is more often."""
        sources, targets = Counter[str](), Counter[str]()
        for alert in self.alerts:
            for evidence in alert["evidences"]:
                flows = int(evidence.get("data", {}).get("flows", 1))
                sources[address_of(evidence["src_endpoint"])] += flows
                targets[address_of(evidence["dst_endpoint"])] += flows
        busiest = sorted(sources | targets, key=lambda name: (-max(sources[name], targets[name]), name))
        acting = [name for name in busiest if sources[name] and sources[name] >= targets[name]]
        return tuple(acting), tuple(name for name in busiest if name not in set(acting))

    @property
    def target_count(self) -> int:
        """How many targets there are at least: those that alerts name, and as many as one of them counts.

        A sensor that does not know who began counts all but the actor, so its number says nothing here.
        """
        abouts = (alert["unmapped"] for alert in self.alerts)
        counts = (int(about.get("destinations", 0)) for about in abouts if about.get("directed", True))
        return max(len(self.ends[1]), *counts, 0)


def uid_of(alert: Alert) -> str:
    """An alert's uid."""
    return str(alert["finding_info"]["uid"])


def address_of(endpoint: Mapping[str, Any]) -> str:
    """An endpoint's address, or its name where it has none."""
    return str(endpoint.get("ip") or endpoint.get("name") or "")


def is_page(alert: Alert) -> bool:
    """Whether somebody should look now; an alert of a version before pages is one that nobody has held back."""
    return bool(alert["unmapped"].get("disposition", PAGE) == PAGE)


def is_alert(value: object) -> bool:
    """Whether a value from the topic has what its readers read: what somebody else wrote there has not."""
    try:
        alert: Alert = value  # type: ignore[assignment]
        about, info, uid = alert["unmapped"], alert["finding_info"], alert["finding_info"]["uid"]
        texts = (about["site"], about["sensor"], uid, info["title"], alert["message"], about.get("class", ""))
        times = (about["opened_ts_us"], about.get("first_ts_us", 0), about.get("last_ts_us", 0))
        counts = [evidence.get("data", {}).get("flows", 1) for evidence in alert["evidences"]]
        counts += [
            alert["count"],
            about.get("destinations", 0),
            about.get("late", 0),
            *about.get("classes", {}).values(),
        ]
        numbers = (alert["metadata"]["sequence"], alert["activity_id"], alert["severity_id"])
        sight = _sight(alert)
        _read_as_document(alert)
    except (KeyError, TypeError, AttributeError, ValueError, OverflowError, RecursionError):
        return False
    named = (*texts, *(part for conversation in sight.conversations for part in conversation))
    return (
        all(isinstance(text, str) for text in named)
        and (uid.isascii() and uid.isprintable() and len(uid) <= MAX_UID)
        and all(type(each) is int and abs(each) <= MAX_US for each in times)
        and all(type(each) is int and abs(each) <= MAX_COUNT for each in (*numbers, *counts))
    )


def _read_as_document(alert: Alert) -> None:
    """Read the rest of what a document of the incident is made of; KeyError, TypeError, ... where it cannot be."""
    talks_of((alert,))
    for attack in alert.get("attacks", ()):
        technique = attack.get("sub_technique") or attack["technique"]
        str(technique["uid"]), str(technique["name"])


def neighbourhood(alert: Alert) -> Neighbourhood:
    """Which alerts an alert can be joined with. Joining those alone gives what joining all gives, for these."""
    about = alert["unmapped"]
    from_us = int(about["opened_ts_us"]) // DAY_US * DAY_US
    return Neighbourhood(str(about["site"]), from_us, from_us + DAY_US)


def keys_of(alert: Alert) -> set[tuple[str, ...]]:
    """Keys of which two alerts of a neighbourhood share one wherever a rule joins them; none of a notice.

    Each pair of addresses, each community id, and the hub.
    """
    sight = _sight(alert)
    return {*sight.conversations, *([("hub", sight.hub)] if sight.hub else [])}


def pair_of(one: str, other: str) -> tuple[str, str]:
    """Two addresses in a fixed order."""
    return min(one, other), max(one, other)


def joined(alerts: Iterable[Alert]) -> list[JoinedIncident]:
    """The incidents that alerts make, notices among them, by (opened_us, uid).

    Of each uid the latest revision counts, so revisions may be missing, doubled or out of order. n log n in all.
    """
    ordered = sorted(latest_revisions(alerts), key=lambda alert: (alert["unmapped"]["opened_ts_us"], uid_of(alert)))
    sights = [_sight(alert) for alert in ordered]
    root_of = list(range(len(ordered)))
    for cluster in _same(sights):
        first = _root(root_of, cluster[0])
        for at in cluster[1:]:
            first, other = sorted((first, _root(root_of, at)))
            root_of[other] = first
    members: dict[int, list[Alert]] = {}
    for at, alert in enumerate(ordered):
        members.setdefault(_root(root_of, at), []).append(alert)
    return [JoinedIncident(tuple(each)) for each in members.values()]


def latest_revisions(alerts: Iterable[Alert]) -> list[Alert]:
    """The latest revision of each uid."""
    latest: dict[str, Alert] = {}
    for alert in alerts:
        known = latest.get(uid_of(alert))
        if known is None or alert["metadata"]["sequence"] > known["metadata"]["sequence"]:
            latest[uid_of(alert)] = alert
    return list(latest.values())


class _Sight(NamedTuple):
    """What an alert saw, for comparing: conversations by id or pair, and the address that is in all of them."""

    sensor: str
    first_us: int
    last_us: int
    scope: tuple[str, int]
    conversations: frozenset[tuple[str, ...]]
    hub: str
    hub_acts: bool
    partners: frozenset[str]
    kind: str


def _sight(alert: Alert) -> _Sight:
    about = alert["unmapped"]
    opened_us, site = int(about["opened_ts_us"]), str(about["site"])
    first_us, last_us = int(about.get("first_ts_us", opened_us)), int(about.get("last_ts_us", opened_us))
    evidences: Sequence[Mapping[str, Any]] = () if "notice" in about else alert["evidences"]
    talks = [(address_of(each["src_endpoint"]), address_of(each["dst_endpoint"])) for each in evidences]
    first = [pair_of(one, other) for one, other in about.get("pairs", ())[:MAX_PAIRS]]
    pairs = {*first, *(pair_of(*talk) for talk in talks)}
    ids = {each["connection_info"].get("community_uid", "") for each in evidences} - {""}
    hub = _hub(set(first[:HUB_PARTNERS]) or pairs, talks)
    return _Sight(
        str(about["sensor"]),
        first_us,
        last_us,
        (site, opened_us // DAY_US),
        frozenset(pairs | {(community_id,) for community_id in ids}),
        hub,
        2 * sum(source == hub for source, _ in talks) >= len(talks),
        frozenset(address for pair in pairs if hub in pair for address in pair if address != hub),
        str(about.get("name", alert["finding_info"]["title"])),  # before there was a name, titles held no figures
    )


def _hub(pairs: set[tuple[str, str]], talks: Sequence[tuple[str, str]]) -> str:
    """The address that is in all pairs, of a single pair the first talk's source; empty where there is none."""
    shared = set.intersection(*(set(pair) for pair in pairs)) if pairs else set()
    actor = talks[0][0] if len(shared) == 2 else min(shared, default="")
    return "" if is_group_address(actor) else actor


def _same(sights: Sequence[_Sight]) -> Iterator[list[int]]:
    """Indices of alerts that one of the rules joins."""
    seen: dict[object, list[int]] = {}
    hubs: dict[object, list[int]] = {}
    campaigns: dict[object, list[int]] = {}
    for at, sight in enumerate(sights):
        for conversation in sight.conversations:
            seen.setdefault((sight.scope, conversation), []).append(at)
        if len(sight.partners) >= HUB_PARTNERS:
            hubs.setdefault((sight.scope, sight.hub), []).append(at)
        if sight.hub and sight.hub_acts:
            campaigns.setdefault((sight.scope, sight.hub, sight.kind), []).append(at)
    for group in seen.values():
        yield from (each for each in _stretches(sights, group, GAP_US) if len({sights[at].sensor for at in each}) > 1)
    for group in hubs.values():
        yield from _stretches(sights, group, GAP_US)
    for group in campaigns.values():
        for each in _stretches(sights, group, CAMPAIGN_GAP_US):
            if len(frozenset[str]().union(*(sights[at].partners for at in each))) >= HUB_PARTNERS:
                yield each


def _stretches(sights: Sequence[_Sight], group: list[int], gap_us: int) -> Iterator[list[int]]:
    """The alerts of a group, cut where for longer than a gap none of them was going on; two or more each."""
    stretch, last_us = list[int](), 0
    for at in sorted(group, key=lambda at: sights[at].first_us) if len(group) > 1 else ():
        if stretch and sights[at].first_us - last_us > gap_us:
            if len(stretch) > 1:
                yield stretch
            stretch = []
        last_us = max(last_us, sights[at].last_us) if stretch else sights[at].last_us
        stretch.append(at)
    if len(stretch) > 1:
        yield stretch


def _root(root_of: list[int], at: int) -> int:
    """The first of the alerts that one was joined with so far; shortens the way to it."""
    while root_of[at] != at:
        root_of[at] = root_of[root_of[at]]
        at = root_of[at]
    return at
