"""Labels for samples: from analysts' verdicts and label files, never from scores.

A verdict on an incident labels the flows it holds: a true positive with the class of the alert they are in, a false
positive or benign one with `normal`. Test, duplicate and maintenance verdicts label nothing, nor does one that was
undone. Of two verdicts on an alert the newer counts. What a verdict suppresses beyond its incident gets no label:
nobody has looked at it. Every label says whose it is. A flow that is given two different labels gets none.
"""

import csv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.contracts.uids import POSITION_BOUNDS, ROW_BY_POSITION, ROW_BY_SOURCE_RECORD, raw_position_of
from pipeline.contracts.verdicts import LABELLING, TRUE_POSITIVE, Record, standing
from pipeline.errors import BadData

Key = tuple[str | int, ...]
NORMAL = "normal"
COLUMNS = ("site", "sensor", "source_record", "label")
TYPES = {"site": pa.string(), "sensor": pa.string(), "raw_partition": pa.int32(), "raw_index": pa.int32()}


@dataclass(frozen=True, slots=True)
class Claim:
    """What somebody says a flow is; `verdict`: the id of the verdict that says so, empty for a label file."""

    label: str
    by: str
    verdict: str = ""


@dataclass(frozen=True, slots=True)
class Applied:
    """Labels on samples: (n,) label, whose it is and by which verdict; (n,) whether labels conflict.

    Label and author are empty where there is none, the verdict also where a label file says so.
    """

    label: npt.NDArray[np.str_]
    by: npt.NDArray[np.str_]
    verdict: npt.NDArray[np.str_]
    conflicting: npt.NDArray[np.bool_]

    @property
    def touched(self) -> npt.NDArray[np.bool_]:
        """(n,) whether any label speaks of the sample."""
        touched: npt.NDArray[np.bool_] = (self.label != "") | self.conflicting
        return touched


class Labels:
    """Labels by raw position (verdicts) and by site, sensor and `source_record` (label files), with counts."""

    def __init__(self) -> None:
        self.by_position: dict[Key, Claim] = {}
        self.by_record: dict[Key, Claim] = {}
        self.given: dict[str, Record] = {}
        """The verdicts that label something, by id."""
        self.overruled = 0
        """Verdicts that a newer one on the same incident contradicts."""
        self.undone = 0
        """Verdicts that were taken back."""
        self.unusable = 0
        """Verdicts that could not be used: malformed, or of a class the model does not have."""
        self._conflicting: set[Key] = set()

    def __len__(self) -> int:
        return len(self.by_position) + len(self.by_record)

    @property
    def conflicting(self) -> int:
        """Flows that were given two different labels."""
        return len(self._conflicting)

    def add_verdicts(self, verdicts: Iterable[Record], attacks: Iterable[str]) -> None:
        """Add the records of the topic `feedback`, in any order; `attacks` are the classes an incident can be of."""
        known, stands = set(attacks), standing(verdicts)
        self.undone += len(stands.given.keys() & stands.undone.keys())
        for verdict in stands.given.values():
            if verdict["id"] in stands.undone:
                continue
            newest = {uid: stands.newest[uid] for uid in verdict["uids"]}
            self.overruled += any(each["verdict_id"] != verdict["verdict_id"] for each in newest.values())
            if verdict["verdict_id"] in LABELLING:
                holding = [alert for alert in verdict["alerts"] if newest[alert["uid"]]["id"] == verdict["id"]]
                self.unusable += not all([self._add_alert(verdict, alert, known) for alert in holding])

    def _add_alert(self, verdict: Record, alert: Mapping[str, Any], attacks: set[str]) -> bool:
        """Claim the flows of an alert that was judged; False where they cannot be claimed."""
        attack = verdict["verdict_id"] == TRUE_POSITIVE
        label = str(alert["class"]) if attack else NORMAL
        origin = verdict["site"], alert["sensor"]
        positions = [raw_position_of(member) for member in alert["members"]]
        # What is suspicious and of no class the model knows must not become normal traffic.
        if (attack and label not in attacks) or None in origin or None in positions:
            return False
        claim = Claim(label, str(verdict["by"]), verdict["id"])
        self.given[verdict["id"]] = verdict
        for position in positions:
            self._add(self.by_position, (*origin, *position), claim)  # type: ignore[misc]  # no None: above
        return True

    def add_file(self, path: Path, classes: Iterable[str]) -> None:
        """Add a CSV with the columns site, sensor, source_record, label; BadData names the line that is wrong."""
        known = set(classes)
        try:
            with path.open(encoding="utf-8", newline="") as source:
                reader = csv.DictReader(source)
                if not set(COLUMNS) <= set(reader.fieldnames or ()):
                    raise BadData(f"{path}: got columns {reader.fieldnames}, expected {', '.join(COLUMNS)}")
                for number, row in enumerate(reader, start=2):
                    self._add(self.by_record, *_of_line(row, known, f"{path}:{number}", path.name))
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise BadData(f"{path}: got {error}, expected a CSV in UTF-8 with {', '.join(COLUMNS)}") from error

    def _add(self, labels: dict[Key, Claim], key: Key, claim: Claim) -> None:
        if labels.setdefault(key, claim).label != claim.label:
            self._conflicting.add(key)

    def apply(self, samples: pa.Table) -> Applied:
        """Put the labels on samples (with the columns that name a row)."""
        rows = samples.num_rows
        judged, judged_by, verdict = self._lookup(samples, ROW_BY_POSITION, self.by_position)
        filed, filed_by, _ = self._lookup(samples, ROW_BY_SOURCE_RECORD, self.by_record)
        conflicting = (judged != "") & (filed != "") & (judged != filed)
        label = np.where(judged != "", judged, filed)
        by = np.where(judged != "", judged_by, filed_by)
        conflicting |= label == CONFLICT
        empty = np.full(rows, "", dtype=np.str_)
        label, by, verdict = (np.where(conflicting, empty, each) for each in (label, by, verdict))
        return Applied(label, by, verdict, conflicting)

    def _lookup(
        self, samples: pa.Table, names: tuple[str, ...], labels: Mapping[Key, Claim]
    ) -> list[npt.NDArray[np.str_]]:
        """Per sample the label, whose it is and the verdict, by the columns `names`."""
        columns = list(zip(*labels, strict=True)) if labels else [()] * len(names)
        claimed = [CONFLICT if key in self._conflicting else claim.label for key, claim in labels.items()]
        table = pa.table(
            [
                *(pa.array(column, TYPES.get(name, pa.int64())) for name, column in zip(names, columns, strict=True)),
                pa.array(claimed, pa.string()),
                pa.array([claim.by for claim in labels.values()], pa.string()),
                pa.array([claim.verdict for claim in labels.values()], pa.string()),
            ],
            names=[*names, "label", "by", "verdict"],
        )
        keys = samples.select(list(names)).append_column("row", pa.array(np.arange(samples.num_rows)))
        labelled = keys.join(table, list(names), join_type="inner")
        row = labelled.column("row").to_numpy()
        result = []
        for name in ("label", "by", "verdict"):
            values = np.array(labelled.column(name).to_pylist(), dtype=np.str_)
            spread = np.full(samples.num_rows, "", dtype=values.dtype)
            spread[row] = values
            result.append(spread)
        return result


# No class can be called this: names of classes are not empty and hold no control characters.
CONFLICT = "\x00conflict"


def _of_line(row: Mapping[str, str | None], known: set[str], where: str, name: str) -> tuple[Key, Claim]:
    label, record = row["label"], row["source_record"] or ""
    if label is None or label not in known:
        raise BadData(f"{where}: got label {label!r}, expected one of {', '.join(sorted(known))}")
    if not record.isascii() or not record.isdecimal() or int(record) >= POSITION_BOUNDS[1]:
        raise BadData(f"{where}: got source_record {row['source_record']!r}, expected a whole number")
    return (str(row["site"]), str(row["sensor"]), int(record)), Claim(label, f"file {name}")
