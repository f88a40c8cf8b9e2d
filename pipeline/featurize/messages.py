"""What one flows message released as messages of `features`, none of which Kafka refuses."""

from dataclasses import replace
from itertools import pairwise
from math import ceil
from typing import NamedTuple

import pyarrow as pa

from pipeline.contracts.envelope import FeaturesFacts

MAX_MESSAGE_ROWS = 4_096
# Buffers of a column that can be one piece of memory: a column of nulls is the same zeros twice.
MAX_SHARED = 2


class FeaturesMessage(NamedTuple):
    """A message for `features`: its rows (schema `features`) and its facts, the number in the partition among them."""

    rows: pa.RecordBatch
    facts: FeaturesFacts


class Cutting(NamedTuple):
    """How rows that leave together are cut into messages: a state restored after a crash leads to the same cuts.

    max_rows, max_bytes : of a message whose rows are as large as the others
    max_larger : times as many bytes where they are larger
    alike : whether parts have equally many rows; else all but the last have as many as they may
    """

    max_rows: int = MAX_MESSAGE_ROWS
    max_bytes: int = 4 * 1024 * 1024
    max_larger: float = 1.5
    alike: bool = True


# What every stage behind does a message, it does half as often where all rows of a flows message leave together: 4,096
# have 3.2 MB unpacked. Rows are not all of one size, and what cannot be packed must fit Kafka's 8 MiB: a message has
# half as many bytes more at most, and score adds columns.
CUTTING = Cutting()
# What flows messages of before there were frames release: an earlier version may have sent it already when it was
# killed, and score knows what is sent again by its seq, so the same rows must carry it (docs/adr/0048).
CUTTING_BEFORE_FRAMES = Cutting(max_bytes=2 * 1024 * 1024, max_larger=3, alike=False)


def split_message(features: pa.RecordBatch, facts: FeaturesFacts, cutting: Cutting = CUTTING) -> list[FeaturesMessage]:
    """What one flows message released, cut into messages Kafka takes, numbered on from `facts.seq`.

    A jump in event time or an end of source releases everything that waited at once. The first part states the records
    of the raw range; the range's end, its rejects, the watermarks and the ends of sources belong to the last part, when
    everything before them has been emitted. Five rows at two a message, seq 7, records 6, rejected 1, through (9, 0):

        rows   seq  records  rejected  through  frontier             watermarks, ended
        0, 1     7        6         0  None     lowest of all rows   none
        2, 3     8        0         0  None     lowest of all rows   none
        4        9        0         1  (9, 0)   facts.frontier       those of facts

    Parts have equally many rows, where `cutting` has them alike: the fewest for which a part has `max_bytes` where its
    rows are as large as the others on average, and no part has more than `max_larger` times as many.
    """
    max_rows, max_bytes = cutting.max_rows, cutting.max_bytes
    # What all buffers take is known at once; the exact size of 80 columns takes as long as all windows of a few rows.
    if len(features) <= max_rows and MAX_SHARED * features.get_total_buffer_size() <= max_bytes:
        return [FeaturesMessage(features, facts)]
    rows = max(1, min(max_rows, max_bytes * len(features) // max(1, _size(features))))
    if len(features) <= rows:
        return [FeaturesMessage(features, facts)]
    if cutting.alike:
        rows = ceil(len(features) / ceil(len(features) / rows))
    offsets, indices = (features.column(name).to_numpy() for name in ("raw_offset", "raw_index"))
    lowest = int(offsets.min()), int(indices[offsets == offsets.min()].min())
    # Rows of the later parts are not emitted yet: until the last part, nothing above the lowest of them is done.
    unfinished = lowest if facts.frontier is None else min(facts.frontier, lowest)
    parts, bounds = [], [0]
    for stop in range(rows, len(features) + rows, rows):
        bounds += _ends(features, bounds[-1], min(stop, len(features)), int(cutting.max_larger * max_bytes))
    for number, (start, stop) in enumerate(pairwise(bounds)):
        part = replace(facts, seq=facts.seq + number, records=facts.records if start == 0 else 0)
        if stop < len(features):
            part = replace(
                part,
                rejected=0,
                through=None,
                watermarks=(),
                ended=(),
                evicted=(),
                notices=(),
                lateness=(),
                frontier=unfinished,
            )
        parts.append(FeaturesMessage(features.slice(start, stop - start), part))
    return parts


def _ends(features: pa.RecordBatch, start: int, stop: int, max_bytes: int) -> list[int]:
    """Where parts of the rows from `start` to `stop` end: one, or halves of it until none has more bytes than that."""
    if stop - start == 1 or _size(features.slice(start, stop - start)) <= max_bytes:
        return [stop]
    middle = (start + stop) // 2
    return _ends(features, start, middle, max_bytes) + _ends(features, middle, stop, max_bytes)


def _size(features: pa.RecordBatch) -> int:
    """Bytes of rows, the same for equal rows: cuts must not depend on what waited beside them or was restored.

    Whether a column without nulls has a bitmap that says so is an accident of the batches its rows were picked from.
    Texts and lists count as if they had one, for nearly always they do; of others none is counted.
    """
    size = 0
    for column in features.columns:
        bitmap = (column.offset + len(column) + 7) // 8 - column.offset // 8
        is_counted = column.null_count > 0 or pa.types.is_string(column.type) or pa.types.is_list(column.type)
        size += column.nbytes + bitmap * (is_counted - (column.buffers()[0] is not None))
    return size
