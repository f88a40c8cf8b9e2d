"""When an incident's disposition is judged: as it opens, and with each flow by which it rises a level."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.alert.incident import Incident
from pipeline.alert.levels import LEVELS, levels_after, sign_of
from pipeline.alert.pages import Occasion

Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


def occasions_of(
    incident: Incident, rows: pa.RecordBatch, joined_at: Ints, levels: Ints, grow: Flags, clock_us: Ints
) -> list[tuple[int, Occasion]]:
    """The occasions among fresh flows of an incident, each with the number of the flow; the incident's levels move on.

    rows: (n,) in the order they joined. joined_at: (n,) number of the fresh flow with which each joined, ascending;
    those that join at once are judged as one. levels: (n,) of each. clock_us: by fresh flow.
    """
    last = np.flatnonzero(np.diff(joined_at, append=-1) != 0)
    after = levels_after(incident.level, incident.level_flows, levels, grow)[last]
    rises = np.flatnonzero(np.diff(after, prepend=incident.level) > 0)
    occasions = []
    for unit in rises.tolist():
        first_row, last_row = int(last[unit - 1]) + 1 if unit else 0, int(last[unit])
        at = first_row + int(np.argmax(levels[first_row : last_row + 1]))
        flows = incident.count + last_row + 1
        fresh = int(joined_at[last_row])
        occasion = Occasion(
            incident.uid,
            int(clock_us[fresh]),
            sign_of(rows, at),
            int(after[unit]),
            int(levels[at]),
            flows - incident.judged_flows,
        )
        incident.judged_flows = flows
        occasions.append((fresh, occasion))
    incident.level = max(incident.level, int(after[-1]))
    for level in range(LEVELS):
        incident.level_flows[level] += int(np.count_nonzero((levels == level) & grow))
    return occasions
