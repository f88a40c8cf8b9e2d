"""Labelled rows for models: a file → decode → features, and its labels joined by `source_record`.

The same functions as the live flow; only labels, which never travel with the flows, are read here as well.
"""

import csv
import hashlib
import io
import time
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import BadData
from pipeline.featurize.feature_set import FEATURE_SET
from pipeline.featurize.sensor import featurize_file_rows
from pipeline.ingest.files.offline_rows import decode_file
from pipeline.runtime.wire import batches
from pipeline.settings import Settings

if TYPE_CHECKING:
    from models.rows import FeatureSet, Rows

LABEL_COLUMN = "NST_M_Label"
# Labels of files → classes of models.
CLASS_OF = {
    "Normal": "normal",
    "GOOD-SSH": "login",
    "BAD-MITM": "mitm",
    "BAD-PORTSCAN1": "portscan",
    "BAD-PORTSCAN2": "portscan",
    "BAD-SSH": "ssh_bruteforce",
    "BAD-MISCONF": "misconf",
    "BAD-MISCONF-DUPLICATION": "duplication",
}
UNLABELLED = "normal"


@dataclass(frozen=True, slots=True)
class ColdStarts:
    """When windows start empty again, seconds after the file's first flow, and how long each such run is followed.

    A model that only saw warm windows would take an empty one, after a restart or in a replay, for an attack.
    """

    at_s: tuple[int, ...] = (700, 1400, 2100)
    for_s: int = 900


@dataclass(frozen=True, slots=True)
class Span:
    """Which flows count: those that start at or after `start_us` and end before `end_us`."""

    start_us: int = 0
    end_us: int = 2**62


def read_labels(path: Path, column: str = LABEL_COLUMN) -> npt.NDArray[np.str_]:
    """Class of every data row of a CSV (or a zip of one), by `source_record`; BadData where the column is missing."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            text = archive.read(archive.namelist()[0]).decode("utf-8")
    else:
        text = path.read_text(encoding="utf-8")
    reader = csv.DictReader(io.StringIO(text, newline=""))
    if column not in (reader.fieldnames or ()):
        raise BadData(f"{path}: no column {column} in its header, expected one label a data row; name it with --label")
    names = [row[column] for row in reader]
    unknown = sorted(set(names) - set(CLASS_OF))
    if unknown:
        raise BadData(f"{path}: got labels {unknown[:5]}, expected {', '.join(CLASS_OF)}; map them first")
    return np.array([CLASS_OF[name] for name in names])


def read_rows(
    path: Path,
    site: str,
    sensor: str,
    settings: Settings,
    span: Span,
    labels: npt.NDArray[np.str_] | None,
    cold: ColdStarts | None = None,
) -> "Rows":
    """A file's rows within `span`, featurized from a cold start, once for every run `cold` asks for besides.

    Without labels every row is presumed normal.
    """
    decoded = decode_file(
        path,
        site=site,
        sensor=sensor,
        ingest_ts_us=time.time_ns() // 1_000,
        max_future_us=settings.max_future_us,
        max_bytes=settings.file_max_bytes,
    )
    return rows_of_flows(decoded.flows, labels, settings.lateness_of(site), span, cold)


def rows_of_flows(
    flows: pa.RecordBatch,
    labels: npt.NDArray[np.str_] | None,
    lateness_us: int,
    span: Span,
    cold: ColdStarts | None = None,
) -> "Rows":
    """The same from a batch of one sensor's flows in raw order."""
    from models.rows import concatenate

    start, end = flows.column("start_ts_us"), flows.column("end_ts_us")
    flows = flows.filter(pc.and_(pc.greater_equal(start, span.start_us), pc.less(end, span.end_us)))
    parts = [_run(flows, labels, lateness_us, 0)]
    if cold is not None and flows.num_rows:
        first = int(pc.min(flows.column("start_ts_us")).as_py())
        for number, at_s in enumerate(cold.at_s, start=1):
            begins = first + at_s * 1_000_000
            inside = pc.and_(
                pc.greater_equal(flows.column("start_ts_us"), begins),
                pc.less(flows.column("end_ts_us"), begins + cold.for_s * 1_000_000),
            )
            parts.append(_run(flows.filter(inside), labels, lateness_us, number))
    return concatenate(parts)


def _run(flows: pa.RecordBatch, labels: npt.NDArray[np.str_] | None, lateness_us: int, replay: int) -> "Rows":
    from models.rows import Rows

    rows = featurize_file_rows(flows, lateness_us)
    record = rows.column("source_record").to_numpy(zero_copy_only=False).astype(np.int64)
    return Rows(
        matrix=batches.matrix(rows),
        label=labels[record] if labels is not None else np.full(len(record), UNLABELLED),
        site=np.array(rows.column("site").to_pylist(), dtype=np.str_),
        sensor=np.array(rows.column("sensor").to_pylist(), dtype=np.str_),
        start_ts_us=rows.column("start_ts_us").to_numpy().astype(np.int64),
        end_ts_us=rows.column("end_ts_us").to_numpy().astype(np.int64),
        source_record=record,
        replay=np.full(len(record), replay, dtype=np.int64),
    )


def feature_set() -> "FeatureSet":
    """The feature set as models/ knows it."""
    from models.rows import Feature
    from models.rows import FeatureSet as ModelFeatureSet

    features = tuple(
        Feature(feature.name, feature.label, feature.unit, feature.group, feature.scale == "log1p")
        for feature in FEATURE_SET.features
    )
    return ModelFeatureSet(FEATURE_SET.name, FEATURE_SET.hash, features)


def provenance(paths: Iterable[Path]) -> list[dict[str, str]]:
    """Name and SHA-256 of every file, for the manifest."""
    return [{"name": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()} for path in paths]
