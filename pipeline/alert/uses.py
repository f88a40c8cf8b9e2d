"""An incident's deeds as one tells them: by who did it, each with one service, or with several ports as one."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from pipeline.alert.deeds import MAX_DEEDS, Deed
from pipeline.alert.done import COUNTS, TCP, TRANSPORTS
from pipeline.alert.ends import most
from pipeline.alert.incident import CROWD, Incident

SEVERAL_SOURCES = 4
"""From so many on, none of which has half of the flows, the sources are reported by their number."""
SEVERAL_PORTS = 4
"""From so many ports on, they are reported by their number."""


@dataclass(slots=True)
class Use:
    """Flows of one source, or of several as one, with a service.

    ports: (IP protocol, port) of those that are known. more: whether there may be more flows, ports and targets of it
    than are counted here. The rest as in `Deed`.
    """

    source: str
    ip_proto: int
    ether_type: int
    industrial: str
    directed: bool
    ports: set[tuple[int, int]]
    flows: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    targets: Counter[str] = field(default_factory=Counter)
    more_targets: bool = False
    functions: Counter[int] = field(default_factory=Counter)
    more_functions: bool = False
    more: bool = False

    @property
    def requests(self) -> int:
        """Industrial requests that the sensor read."""
        return sum(self.counts[name] for name in ("reads", "writes", "controls")) or self.functions.total()

    @property
    def gravity(self) -> int:
        """2 where it changes a device, 1 where it writes to one, else 0."""
        return 2 if self.counts["controls"] else int(self.counts["writes"] > 0)


@dataclass(frozen=True, slots=True)
class Reported:
    """What is reported of an incident: the uses of its main source, the weightiest first, and what is left.

    source: its address; empty where `sources` are reported by their number. same, others: flows that no use here has,
    of the source and of others. other_sources: those of whom the others are, as far as they are retained.
    """

    source: str
    sources: int
    more_sources: bool
    uses: tuple[Use, ...]
    same: int
    others: int
    other_sources: tuple[str, ...] = ()
    more_others: bool = False


def reported(incident: Incident, most_uses: int) -> Reported:
    """What is reported of an incident, of the first `most_uses` uses."""
    partly = incident.deeds.flows < incident.count
    # A deed that is retained is so from its first flow on, but for incidents of a state that knew none.
    is_older = partly and len(incident.deeds.of) < MAX_DEEDS
    actor = incident.all_ends.actor if incident.key == CROWD else incident.ends.actor
    uses = _uses(incident.deeds.of.values(), actor)
    by_source: Counter[str] = Counter()
    for use in uses:
        by_source[use.source] += use.flows
        use.more |= is_older
    if not uses:
        return Reported(actor, 1, False, (), incident.count, 0)
    top, top_flows = most(by_source), max(by_source.values())
    if len(by_source) >= SEVERAL_SOURCES and top_flows * 2 < incident.count:
        of_all = _by_service([_of_anybody(use, partly) for use in uses])
        chosen = _with_targets(_told_of(of_all, set(by_source), partly)[:most_uses], incident)
        others = incident.count - sum(use.flows for use in chosen)
        return Reported("", len(by_source), partly, tuple(chosen), 0, others)
    gravest = max(uses, key=lambda use: (use.gravity, use.counts["controls"], use.counts["writes"]))
    source = gravest.source if gravest.gravity else actor if actor in by_source else top
    of_source = _told_of([use for use in uses if use.source == source], {source}, partly)
    chosen = _with_targets(of_source[:most_uses], incident)
    same = sum(use.flows for use in of_source[most_uses:])
    others = incident.count - by_source[source]
    if len(incident.sources) == 1 and not incident.more_sources and not incident.undirected:
        same, others = same + others, 0  # nobody else is there
    rest = sorted((other for other in by_source if other != source), key=lambda other: (-by_source[other], other))
    return Reported(source, 1, False, tuple(chosen), same, others, tuple(rest), partly)


def _with_targets(uses: list[Use], incident: Incident) -> list[Use]:
    """The uses; where not all flows are in one, its targets are all only if the incident has no other."""
    all_targets = incident.targets.keys() | (incident.sources.keys() if incident.undirected else set())
    for use in uses:
        is_whole = not incident.more_targets and use.targets.keys() >= all_targets
        use.more_targets |= use.more and not is_whole
    return uses


def _uses(deeds: Iterable[Deed], actor: str) -> list[Use]:
    """The deeds, reported from the actor where nobody knows who asked."""
    uses = []
    for deed in deeds:
        flows = deed.targets.get(actor, 0)
        if deed.directed or deed.source == actor or not flows:
            uses.append(_use(deed, deed.source, deed.targets, deed.flows))
            continue
        uses.append(_use(deed, actor, {deed.source: flows}, flows))
        if rest := {target: number for target, number in deed.targets.items() if target != actor}:
            uses.append(_use(deed, deed.source, rest, deed.flows - flows))
    return _by_service(uses)


def _use(deed: Deed, source: str, targets: dict[str, int], flows: int) -> Use:
    use = Use(source, deed.ip_proto, deed.ether_type, deed.industrial, deed.directed, set(), flows)
    if deed.port >= 0:
        use.ports.add((deed.ip_proto, deed.port))
    use.targets = Counter(targets)
    use.more_targets, use.more_functions = deed.more_targets, deed.more_functions
    if flows == deed.flows:  # what else is counted is not known of a part
        use.counts = Counter({name: getattr(deed, name) for name in COUNTS})
        use.functions = Counter(deed.functions)
    if not use.requests:  # a protocol of which nothing was asked says no more than its port
        use.industrial = ""
    return use


def _of_anybody(use: Use, partly: bool) -> Use:
    use.source = ""
    use.more |= partly
    return use


def _by_service(uses: Sequence[Use]) -> list[Use]:
    """The uses, those of one source with one service as one."""
    joined: dict[object, Use] = {}
    for use in uses:
        key = use.source, use.ip_proto, use.ether_type, use.industrial, use.directed, tuple(use.ports)
        if key in joined:
            _join(joined[key], use)
        else:
            joined[key] = use
    return list(joined.values())


def _join(use: Use, other: Use) -> None:
    use.flows += other.flows
    use.counts.update(other.counts)
    use.targets.update(other.targets)
    use.functions.update(other.functions)
    use.ports |= other.ports
    use.more_targets |= other.more_targets
    use.more_functions |= other.more_functions
    use.more |= other.more


def _told_of(uses: Sequence[Use], sources: set[str], partly: bool) -> list[Use]:
    """A source's uses, the weightiest first; those of several ports as one, and no target that is the source."""
    by_ports, single = list[Use](), list[Use]()
    for use in uses:
        for source in sources:
            use.targets.pop(source, None)
        is_by_port = use.ports and not use.requests and use.ip_proto in TRANSPORTS
        (by_ports if is_by_port else single).append(use)
    for directed in (True, False):
        of_kind = [use for use in by_ports if use.directed == directed]
        if len({port for use in of_kind for port in use.ports}) >= SEVERAL_PORTS:
            first = of_kind[0]
            for other in of_kind[1:]:
                _join(first, other)
            first.more |= partly
            of_kind = [first]
        single += of_kind
    return sorted(
        single, key=lambda use: (-use.gravity, -use.flows, -use.requests, use.ip_proto == TCP, str(use.ports))
    )
