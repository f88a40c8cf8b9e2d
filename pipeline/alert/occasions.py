"""When an incident's disposition is judged: as it opens, and with each flow by which it rises a level."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.alert.incident import Incident
from pipeline.alert.levels import CERTAIN, LEVELS, levels_after, sign_of
from pipeline.alert.pages import Occasion
from pipeline.alert.shown_evidence import ShownFlows
from pipeline.runtime.wire.batches import filled

Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


MAX_SIGNS = 16
"""What an incident's strong flows may be about, each judged by itself; a flood of them has paged by then."""


def occasions_of(
    incident: Incident, suspects: ShownFlows, of: slice, joined_at: Ints, levels: Ints, grow: Flags, clock_us: Ints
) -> list[tuple[int, Occasion]]:
    """The occasions among fresh flows of an incident, each with the number of the flow; the incident's levels move on.

    suspects: those of several incidents; `of`: its own, n of them, in the order they joined. joined_at: (n,) number of
    the fresh flow with which each joined, ascending; those that join at once are judged as one. levels: (n,) of each.
    clock_us: by fresh flow.
    """
    last = np.flatnonzero(np.diff(joined_at, append=-1) != 0)
    after = levels_after(incident.level, incident.level_flows, levels, grow)[last]
    rises = np.flatnonzero(np.diff(after, prepend=incident.level) > 0)
    first = np.concatenate(([0], last[:-1] + 1))
    loudest = [int(first[unit] + np.argmax(levels[first[unit] : last[unit] + 1])) for unit in rises.tolist()]
    level_at = dict(zip(loudest, after[rises].tolist(), strict=True))
    occasions = []
    for at in sorted({*level_at, *_strong(suspects, of, levels)}):
        sign = sign_of(suspects, of.start + at)
        if levels[at] >= CERTAIN:
            named = "\x1f".join((sign.kind, sign.actor, str(levels[at])))
            is_new = named not in incident.judged_signs and len(incident.judged_signs) < MAX_SIGNS
            if not is_new and at not in level_at:
                continue
            incident.judged_signs += [named] if is_new else []
        unit = int(np.searchsorted(last, at))
        flows, fresh = incident.count + int(last[unit]) + 1, int(joined_at[at])
        level = level_at.get(at, int(levels[at]))
        occasion = Occasion(
            incident.uid, int(clock_us[fresh]), sign, level, int(levels[at]), flows - incident.judged_flows
        )
        incident.judged_flows = flows
        occasions.append((fresh, occasion))
    incident.level = max(incident.level, int(after[-1]))
    for level in range(LEVELS):
        incident.level_flows[level] += int(np.count_nonzero((levels == level) & grow))
    return occasions


def _strong(suspects: ShownFlows, of: slice, levels: Ints) -> list[int]:
    """Of the flows that are certain by themselves the first of each level and of all that their signs are made of."""
    strong = np.flatnonzero(levels >= CERTAIN)
    if not len(strong):
        return []
    rows = pa.array(of.start + strong)
    columns = [suspects.rows.column(name).take(rows) for name in ("src_addr", "dst_addr", "class")]
    phase = filled(suspects.rows, "phase", 0)
    numbers = (suspects.evidence[of], phase[of], suspects.answers[of].astype(np.uint8))
    facts = [pa.array(values[strong]).cast(pa.string()) for values in (levels, *numbers)]
    joined = pc.binary_join_element_wise(*columns, *facts, "\x1f").dictionary_encode()
    _, at = np.unique(joined.indices.to_numpy(), return_index=True)
    return [int(row) for row in strong[at]]
