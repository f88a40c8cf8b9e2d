"""The rows on which two models differ most, a few of each kind, for a person to look at."""

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.contracts.uids import RAW_POSITION
from pipeline.tools.shadow.tally import ADDED, BOTH, DROPPED, NEITHER, Ints

Mask: TypeAlias = npt.NDArray[np.bool_]
Floats: TypeAlias = npt.NDArray[np.float64]
Rank: TypeAlias = tuple[float, float, int, int, int]

MAX_EXAMPLES = 20
"""Of each kind."""
KINDS = {"added": (ADDED,), "dropped": (DROPPED,), "changed": (NEITHER, BOTH)}
"""Kinds of examples, by who calls the row a suspect; `changed` are those on which the models agree in that."""
PLACE = ("site", "sensor", "start_ts_us", "end_ts_us", "src_addr", "src_port", "dst_addr", "dst_port", "ip_proto")
SAID = ("score", "p_value", "suspect", "class", "nearest_class", "model")


class Examples:
    """At most MAX_EXAMPLES of each kind, those that differ most first; of equals the lower raw position first."""

    def __init__(self) -> None:
        self.by_kind: dict[str, list[dict[str, Any]]] = {kind: [] for kind in KINDS}

    def take(
        self,
        live: pa.RecordBatch,
        candidate: pa.RecordBatch,
        outcome: Ints,
        differs: Mask,
        p_change: Floats,
        score_change: Floats,
    ) -> None:
        """Rows as the model in use and as the candidate scored them, and by how much decades of p and score differ."""
        decades, score = np.abs(p_change), np.abs(score_change)
        for kind, outcomes in KINDS.items():
            kept = self.by_kind[kind]
            wanted = differs & np.isin(outcome, outcomes)
            if len(kept) == MAX_EXAMPLES:
                wanted &= decades >= kept[-1]["decades"]
            rows = np.flatnonzero(wanted)
            if len(rows):
                position = [live.column(name).to_numpy()[rows] for name in reversed(RAW_POSITION)]
                rows = rows[np.lexsort((*position, -score[rows], -decades[rows]))][:MAX_EXAMPLES]
                self._put(kind, _documents(live, candidate, rows, decades, score))

    def _put(self, kind: str, documents: list[dict[str, Any]]) -> None:
        self.by_kind[kind] = sorted([*self.by_kind[kind], *documents], key=_rank)[:MAX_EXAMPLES]

    def read(self, document: Any) -> None:
        """Take over what was in `by_kind`; ValueError, KeyError or TypeError where it is something else."""
        for kind in KINDS:
            self.by_kind[kind] = []
            self._put(kind, list(document[kind]))


def _rank(example: dict[str, Any]) -> Rank:
    partition, offset, index = (int(example[name]) for name in RAW_POSITION)
    return -float(example["decades"]), -float(example["score"]), partition, offset, index


def _documents(
    live: pa.RecordBatch, candidate: pa.RecordBatch, rows: Ints, decades: Floats, score: Floats
) -> list[dict[str, Any]]:
    """The few rows chosen, for JSON."""
    chosen = pa.array(rows)
    where = live.select([*RAW_POSITION, *PLACE]).take(chosen).to_pylist()
    said = [batch.select(SAID).take(chosen).to_pylist() for batch in (live, candidate)]
    changes = zip(decades[rows].tolist(), score[rows].tolist(), strict=True)
    return [
        {**place, "decades": of_p, "score": of_score, "in_use": ours, "candidate": theirs}
        for place, ours, theirs, (of_p, of_score) in zip(where, *said, changes, strict=True)
    ]
