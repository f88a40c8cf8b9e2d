"""Labels for samples: from analysts' verdicts or a label file, never from scores.

A verdict on an incident labels the flows it holds: a true positive with the class the incident names, a false positive
or benign one with `normal`. Test and duplicate verdicts label nothing. Of two verdicts on an incident the newer counts.
"""

import csv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.errors import BadData

Position = tuple[int, int, int]
NORMAL = "normal"
# OCSF verdict_id: 1 false positive, 2 true positive, 5 benign (alerts reference).
FALSE_POSITIVE, TRUE_POSITIVE, BENIGN = 1, 2, 5
COLUMNS = ("site", "sensor", "source_record", "label")


@dataclass(frozen=True, slots=True)
class Labels:
    """Labels by raw position (verdicts) and by site, sensor and `source_record` (a label file), and whose they are."""

    by_position: Mapping[Position, str]
    by_record: Mapping[tuple[str, str, int], str]
    provenance: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.by_position) + len(self.by_record)


def from_verdicts(verdicts: Iterable[Mapping[str, Any]], classes: Iterable[str]) -> Labels:
    """Labels from the records of the topic `feedback`, oldest first; classes the model does not have are left out."""
    known = set(classes)
    newest = {verdict["uid"]: verdict for verdict in verdicts}
    labels: dict[Position, str] = {}
    people: set[str] = set()
    for verdict in newest.values():
        if verdict["verdict_id"] in (FALSE_POSITIVE, BENIGN):
            label = NORMAL
        elif verdict["verdict_id"] == TRUE_POSITIVE and verdict.get("class") in known:
            label = verdict["class"]
        else:
            continue
        people.add(f"{verdict['by']}: {verdict['uid'][:12]} {label}")
        for partition, offset, index, *_ in verdict.get("members", ()):
            labels[partition, offset, index] = label
    return Labels(labels, {}, tuple(sorted(people)))


def from_file(path: Path, classes: Iterable[str]) -> Labels:
    """Labels from a CSV with the columns site, sensor, source_record, label; BadData names the line that is wrong."""
    known = set(classes)
    labels: dict[tuple[str, str, int], str] = {}
    with path.open(encoding="utf-8", newline="") as source:
        reader = csv.DictReader(source)
        if not set(COLUMNS) <= set(reader.fieldnames or ()):
            raise BadData(f"{path}: got columns {reader.fieldnames}, expected {', '.join(COLUMNS)}")
        for number, row in enumerate(reader, start=2):
            label = row["label"]
            if label not in known:
                raise BadData(f"{path}:{number}: got label {label!r}, expected one of {', '.join(sorted(known))}")
            if not (row["source_record"] or "").isdecimal():
                raise BadData(f"{path}:{number}: got source_record {row['source_record']!r}, expected a whole number")
            labels[row["site"], row["sensor"], int(row["source_record"])] = label
    return Labels({}, labels, (f"file {path.name}: {len(labels)} labels",))


def merge(*parts: Labels) -> Labels:
    """Several sources of labels; of two labels for one flow the later source's counts."""
    by_position: dict[Position, str] = {}
    by_record: dict[tuple[str, str, int], str] = {}
    for part in parts:
        by_position.update(part.by_position)
        by_record.update(part.by_record)
    return Labels(by_position, by_record, tuple(line for part in parts for line in part.provenance))
