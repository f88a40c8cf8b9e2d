"""Which records are one flow: the two directions of one-way exporters, and what logs of industrial protocols add.

Records are paired in event-time order, and only once the watermark has passed them, so that the order is the log's.

- A one-way record is half of a flow. Its other half is the first record with addresses and ports the other way round
  that ends within the stitching window after it and is no other's half; the two halves are released at once.
- Records of the kind `ics` with the same ends are added up, from the first one on for as long as the window lasts; a
  flow with these ends that comes within the window takes them in and is released at once.
- A record without a partner is released alone when the window has passed, or when MAX_BETWEEN records have come after
  it. MAX_MERGED records of the kind `ics` are a row that waits for no more.

While a record waits, what ends after it waits too: flows are released in event-time order. A sensor that sends whole
flows alone has nothing to wait for.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.featurize.addresses import address_keys
from pipeline.featurize.compiled import compiled

# A busy sensor's half must not hold everything back for the whole window: after so many records it is alone.
MAX_BETWEEN = 65_536
# Records of the kind `ics` in one row, which lists all their raw positions.
MAX_MERGED = 1_024
WHOLE, HALF, ICS = 0, 1, 2

Ints = npt.NDArray[np.int64]
Keys = npt.NDArray[np.uint64]
Kinds = npt.NDArray[np.uint8]


COLUMNS = (
    "end_ts_us",
    "src_addr",
    "dst_addr",
    "src_port",
    "dst_port",
    "ip_proto",
    "ether_type",
)
"""What `group` reads."""


class Groups(NamedTuple):
    """n records in event-time order, as flows.

    first: (n,) index of the first record of the same flow; decided_us: (n,) of each first record: once the watermark
    has passed this, the flow is known to be whole, or never to be.
    """

    first: Ints
    decided_us: Ints


def kinds_of(flows: pa.RecordBatch) -> Kinds:
    """(n,) uint8 WHOLE, HALF or ICS of each row."""
    whole = flows.column("is_biflow").to_numpy(zero_copy_only=False)
    kinds: Kinds = np.where(whole, WHOLE, HALF).astype(np.uint8)
    kinds[pc.equal(flows.column("record_kind"), "ics").to_numpy(zero_copy_only=False)] = ICS
    return kinds


def group(flows: pa.RecordBatch, kinds: Kinds, window_us: int, max_between: int = MAX_BETWEEN) -> Groups:
    """Pair records (n rows of the `flow` schema in event-time order, with their kinds)."""
    end = flows.column("end_ts_us").to_numpy()
    groups, decided = np.arange(len(end)), end.astype(np.int64)
    taking = np.flatnonzero(kinds != WHOLE) if not (kinds == ICS).any() else np.arange(len(end))
    if len(taking):
        ends = _ends(flows.take(pa.array(taking)))
        order = np.lexsort((taking, *ends.canonical))
        _pair_records(
            taking[order],
            ends.canonical[0][order],
            ends.canonical[1][order],
            ends.canonical[2][order],
            ends.forward[order],
            kinds,
            end,
            window_us,
            max_between,
            groups,
            decided,
        )
    return Groups(groups, decided)


class _Ends(NamedTuple):
    """Of n records: both ends and the protocol as three keys, the same for both directions; and the direction."""

    canonical: tuple[Keys, Keys, Keys]
    forward: Kinds


def _ends(flows: pa.RecordBatch) -> _Ends:
    src, dst = address_keys(flows.column("src_addr"))[0], address_keys(flows.column("dst_addr"))[0]
    sport, dport = (flows.column(f"{side}_port").fill_null(0).to_numpy().astype(np.uint64) for side in ("src", "dst"))
    protocol = flows.column("ip_proto").fill_null(255).to_numpy().astype(np.uint64)
    ether = flows.column("ether_type").to_numpy().astype(np.uint64)
    forward = (src < dst) | ((src == dst) & (sport <= dport))
    low, high = np.where(forward, src, dst), np.where(forward, dst, src)
    low_port, high_port = np.where(forward, sport, dport), np.where(forward, dport, sport)
    rest = (ether << np.uint64(40)) | (protocol << np.uint64(32)) | (low_port << np.uint64(16)) | high_port
    return _Ends((rest, high, low), forward.astype(np.uint8))


@compiled
def _pair_records(
    rows: Ints,
    rest: Keys,
    high: Keys,
    low: Keys,
    forward: Kinds,
    kinds: Kinds,
    end: Ints,
    window_us: int,
    max_between: int,
    groups: Ints,
    decided: Ints,
) -> None:
    """Fill `groups` and `decided`; rows (m,): the records that take part, sorted by their ends, then by event time.

    Within one pair of ends A and B, window 10 s, kinds HALF but for the last two:

        at           0     1     2     3     4
        row          0     2     3     5     6
        end          0 s   1 s   2 s   3 s   4 s
        direction   A>B   A>B   B>A   ICS   WHOLE
        groups       0     2     0     5     5

    `head` is the oldest half that still waits: row 3 answers row 0, which came first, and row 2 remains waiting.
    `collecting` is the first of the industrial records being added up: row 5, until row 6, a whole flow, takes it in.
    """
    head, merged, collecting = 0, 0, np.int64(-1)
    for at in range(len(rows)):
        row = rows[at]
        if at == 0 or rest[at] != rest[at - 1] or high[at] != high[at - 1] or low[at] != low[at - 1]:
            head, collecting = at, np.int64(-1)
        if collecting >= 0 and (end[row] > end[collecting] + window_us or row - collecting > max_between):
            collecting = np.int64(-1)
        if kinds[row] == ICS:
            if collecting < 0:
                collecting, merged = row, 0
            groups[row] = collecting
            merged += 1
            decided[row] = _alone(end, row, window_us, max_between)
            if merged == MAX_MERGED:
                decided[collecting] = end[row]
                collecting = np.int64(-1)
        elif kinds[row] == HALF:
            decided[row] = _alone(end, row, window_us, max_between)
            while head < at:
                first = rows[head]
                waits = kinds[first] == HALF and groups[first] == first
                if waits and end[row] <= end[first] + window_us and row - first <= max_between:
                    break
                head += 1
            if head < at and forward[head] != forward[at]:
                first = rows[head]
                groups[row] = first
                decided[first] = end[row]
                head += 1
        elif collecting >= 0:
            groups[row] = collecting
            decided[collecting] = end[row]
            collecting = np.int64(-1)


@compiled
def _alone(end: Ints, row: int, window_us: int, max_between: int) -> int:
    """When a record without a partner is known to be alone."""
    until = int(end[row]) + window_us
    return min(until, int(end[row + max_between])) if row + max_between < len(end) else until


@compiled
def release_bounds(first: Ints, end: Ints, decided: Ints, watermarks: Ints, out: Ints) -> None:
    """Fill out (k,): for each of the watermarks (ascending), up to which end time flows are released (exclusive).

    first (m,): indices of the first records of flows that may have to wait, ascending.
    """
    at = 0
    for number in range(len(watermarks)):
        watermark = watermarks[number]
        while at < len(first) and decided[first[at]] < watermark:
            at += 1
        out[number] = watermark
        if at < len(first) and end[first[at]] < watermark:
            out[number] = end[first[at]]
