"""The notices of a baseline when a block closes, in words: of a phase, of the past hour, of what fell silent."""

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from pipeline.contracts.baseline import Phase
from pipeline.contracts.envelope import SensorName
from pipeline.contracts.notices import (
    ADMITTED,
    ANCHORED,
    CHANGED,
    EXTENDED,
    LEARNT,
    MOST_RELATIONS,
    SILENT,
    STATUS,
    NamedRelation,
    Notice,
)
from pipeline.contracts.services import EPHEMERAL, ethertype_words, protocol_words
from pipeline.featurize.baseline import keys
from pipeline.featurize.baseline import kinds as of_kinds
from pipeline.featurize.baseline import relations as of_relations
from pipeline.featurize.baseline.address_names import name_of
from pipeline.featurize.baseline.change import Entries, extension, fell_silent
from pipeline.featurize.baseline.keys import kind_of
from pipeline.featurize.baseline.learning import (
    BEGAN_US,
    BLOCK,
    EXTENDED_BLOCKS,
    IDLE_US,
    LAST_US,
    LEARNS_SINCE_US,
    NUMBER,
    PHASE,
    RESUMED_S,
    ROWS,
    SINCE_US,
    STATUS_HOUR,
    seconds,
)
from pipeline.featurize.baseline.phases import CHANGED_AFTER, HOUR_US
from pipeline.featurize.baseline.recurrence import BLOCKS, BY_ITSELF, FIRST_S, LAST_S, PAUSES, PENDING, USUAL
from pipeline.featurize.baseline.relations import SOURCE, TARGET, WHAT, entries_of
from pipeline.featurize.baseline.sensor_baseline import Baseline
from pipeline.featurize.baseline.undoable import kinds_made_by, new_code, relations_made_by, replace_code
from pipeline.featurize.rows import TCP, UDP
from pipeline.featurize.windows.tables import EVICTED, USED

WORDS = {
    keys.CONTROL: "control",
    keys.WRITE: "write",
    keys.FUNCTION: "function",
    keys.USE: "use",
    keys.HARDWARE: "hardware",
    keys.TALK: "talk",
}
"""Relations that notices name, those that matter most first."""
UNDOABLE = (*WORDS, keys.ADDRESS)
"""What becomes usual by a notice, and not usual by its undoing: the rest counts what these do."""
_KIND_OF_PHASE = {Phase.SETTLING: LEARNT, Phase.ANCHORED: ANCHORED, Phase.CHANGED: CHANGED}


def notices_of_block(baseline: Baseline, name: SensorName, began: Phase | None, now_us: int) -> list[Notice]:
    """The notices after a block closed at `now_us`; began: the phase that begins, if one does."""
    clock, notices = baseline.clock, []
    last_s = seconds(clock, int(clock[LAST_US]))
    if began is not None:
        not_back = _not_usual(baseline) if began == Phase.ANCHORED else np.zeros(0, np.int64)
        notices.append(notice_of(baseline, name, _KIND_OF_PHASE[began], not_back, now_us))
    notices += _admitted(baseline, name, now_us)
    if clock[PHASE] == Phase.ANCHORED and clock[EXTENDED_BLOCKS] == CHANGED_AFTER:
        new = extension(baseline.relations, int(clock[BLOCK]) - 1)
        notices.append(notice_of(baseline, name, EXTENDED, new, now_us))
    # After a weekend nobody is missed yet who stopped shortly before the sensor itself fell idle.
    is_heard = clock[PHASE] == Phase.ANCHORED and now_us - clock[LAST_US] <= IDLE_US
    if is_heard and len(silent := fell_silent(baseline.relations, last_s, int(clock[RESUMED_S]))):
        pausing = {"pausing_relations": int(baseline.relations.cells[silent, PAUSES].sum())}
        notices.append(notice_of(baseline, name, SILENT, silent, now_us, pausing))
    if clock[STATUS_HOUR] != now_us // HOUR_US:
        clock[STATUS_HOUR] = now_us // HOUR_US
        notices.append(notice_of(baseline, name, STATUS, np.zeros(0, np.int64), now_us))
    return notices


def _not_usual(baseline: Baseline) -> Entries:
    """Entries of what came while the sensor learnt now and did not come back."""
    entries = entries_of(baseline.relations)
    cells = baseline.relations.cells[entries]
    since_s = seconds(baseline.clock, int(baseline.clock[LEARNS_SINCE_US]))
    not_back: Entries = entries[(cells[:, USUAL] == 0) & (cells[:, FIRST_S] >= since_s)]
    return not_back


def _admitted(baseline: Baseline, name: SensorName, now_us: int) -> list[Notice]:
    """What became usual in the block that closed, of a sensor that was anchored meanwhile."""
    relations, kinds = relations_made_by(baseline, PENDING, UNDOABLE), kinds_made_by(baseline, PENDING)
    if not len(relations) and not len(kinds):
        replace_code(baseline, PENDING, BY_ITSELF)
        return []
    notice = notice_of(baseline, name, ADMITTED, relations, now_us, affected(baseline, relations, kinds))
    replace_code(baseline, PENDING, new_code(baseline, notice.number))
    return [notice]


def affected(baseline: Baseline, relations: Entries, kinds: Entries) -> dict[str, int]:
    """Figures of a notice about relations and kinds: how many, addresses and devices apart."""
    of_kind = kind_of(baseline.relations.ends[relations, WHAT])
    addresses = int((of_kind == keys.ADDRESS).sum())
    return {
        "affected_relations": len(relations) - addresses,
        "affected_addresses": addresses,
        "affected_kinds": len(kinds),
    }


def notice_of(
    baseline: Baseline,
    name: SensorName,
    kind: str,
    entries: Entries,
    now_us: int,
    more_figures: Mapping[str, int] = MappingProxyType({}),
) -> Notice:
    """A notice about relations, with the next number unless it is the hourly status."""
    clock = baseline.clock
    if kind != STATUS:
        clock[NUMBER] += 1
    of_kind = {entry: keys.kind_and_service(int(baseline.relations.ends[entry, WHAT])) for entry in entries.tolist()}
    order = list(WORDS)
    shown = sorted(
        (entry for entry in of_kind if of_kind[entry][0] in WORDS),
        key=lambda entry: (order.index(of_kind[entry][0]), -int(baseline.relations.cells[entry, BLOCKS]), entry),
    )
    return Notice(
        site=name[0],
        sensor=name[1],
        number=int(clock[NUMBER]),
        kind=kind,
        phase=int(clock[PHASE]),
        at_us=now_us,
        since_us=int(clock[SINCE_US]),
        figures=figures(baseline) | dict(more_figures),
        relations=tuple(_named(baseline, entry, *of_kind[entry]) for entry in shown[:MOST_RELATIONS]),
        more=max(0, len(shown) - MOST_RELATIONS),
    )


def figures(baseline: Baseline) -> dict[str, int]:
    """Counts of a baseline: flows learnt, kinds and relations, usual ones, and what found no room."""
    kinds, relations = baseline.kinds, baseline.relations
    return {
        "began_us": int(baseline.clock[BEGAN_US]),
        "flows": int(baseline.clock[ROWS]),
        "kinds": int(kinds.counts[of_kinds.USED]),
        "usual_kinds": int(kinds.counts[of_kinds.USUAL_KINDS]),
        "relations": int(relations.table.cells[0, USED]),
        "usual_relations": int(relations.counts[of_relations.USUAL_RELATIONS]),
        "turned_away": int(kinds.counts[of_kinds.TURNED_AWAY] + relations.counts[of_relations.TURNED_AWAY]),
        "displaced": int(relations.table.cells[0, EVICTED]),
    }


def _named(baseline: Baseline, entry: int, kind: int, protocol: int, port: int) -> NamedRelation:
    cells, ends = baseline.relations.cells[entry], baseline.relations.ends[entry]
    began_us, names = int(baseline.clock[BEGAN_US]), baseline.names
    return NamedRelation(
        WORDS[kind],
        name_of(names, int(ends[SOURCE])),
        name_of(names, int(ends[TARGET])) if int(ends[TARGET]) else "",
        service_words(protocol, port),
        int(cells[BLOCKS]),
        began_us + 1_000_000 * int(cells[FIRST_S]),
        began_us + 1_000_000 * int(cells[LAST_S]),
    )


def service_words(protocol: int, port: int) -> str:
    """A service in words: 502/tcp, tcp without a known port, client port/udp, icmp, arp, EtherType 0x88a4."""
    if protocol >= 0x10000:
        return ethertype_words(protocol - 0x10000)
    of_protocol = protocol_words(protocol)
    if protocol not in (TCP, UDP):
        return of_protocol
    if port < 0:
        return f"{of_protocol} without a known port"
    return f"{'client port' if port == EPHEMERAL else port}/{of_protocol}"
