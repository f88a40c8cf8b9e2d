"""A file in, features, scores and alerts out, without Kafka: the stages' own functions, composed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.errors import Failed
from pipeline.featurize.baseline.sensor_baseline import Baseline
from pipeline.featurize.feature_set import FEATURE_SET, FeatureSet
from pipeline.ingest.files.offline_rows import Decoded
from pipeline.runtime.files import write_atomic
from pipeline.runtime.storage.location import folder_or_storage
from pipeline.runtime.wire import batches
from pipeline.settings import Settings
from pipeline.tools.offline.file_baseline import before, featurized, learn_quiet
from pipeline.tools.offline.learnt import Learnt, learnt_in
from pipeline.tools.offline.not_back import NotBack, what_did_not_come_back

# The columns of a scored row that the model says.
SAID = ("score", "class", "nearest_class", "novelty", "p_value", "suspect", "model")


@dataclass(frozen=True, slots=True)
class FlowFile:
    """What became of a file's records: `rows` are of the `features` schema, or `scored` once a model has seen them.

    incidents, lone: the last event of each incident, and of the notices of suspects in none.
    learnt: how far the sensor got in learning; None where the feature set has no baselines. baseline: what is usual at
    the sensor after the file. not_back: of a file that ended before anything was learnt, what did not come back in it;
    more_not_back: how much else did not.
    """

    decoded: Decoded
    rows: pa.RecordBatch
    incidents: tuple[dict[str, Any], ...] = ()
    lone: tuple[dict[str, Any], ...] = ()
    uncalibrated: bool = False  # the model knows neither the sensor nor its site: thresholds are the pooled ones
    feature_set: FeatureSet = FEATURE_SET
    learnt: Learnt | None = None
    baseline: Baseline | None = None
    not_back: tuple[NotBack, ...] = ()
    more_not_back: int = 0

    @property
    def on_time(self) -> pa.RecordBatch:
        """The accepted records, in the order of the file."""
        on_time = self.rows.filter(pc.equal(self.rows.column("late_by_us"), 0))
        return on_time.take(pc.sort_indices(on_time.column("source_record")))

    @property
    def late(self) -> int:
        """How many records came later than the site's lateness allows."""
        return int(pc.sum(pc.greater(self.rows.column("late_by_us"), 0)).as_py() or 0)

    @property
    def suspects(self) -> int:
        """How many records the model finds suspect; 0 where none has seen them."""
        if "suspect" not in self.rows.schema.names:
            return 0
        return int(pc.sum(self.rows.column("suspect")).as_py() or 0)

    @property
    def alone(self) -> int:
        """How many suspects are in no incident: nothing came with them, and none of them opens one alone."""
        return self.suspects - sum(int(incident["count"]) for incident in self.incidents)

    @property
    def classes(self) -> dict[str, int]:
        """How many suspects have each class, those with most first."""
        return self._counted("class")

    @property
    def nearest_classes(self) -> dict[str, int]:
        """How many unknown suspects are nearest to each class, those with most first."""
        return self._counted("nearest_class")

    def _counted(self, name: str) -> dict[str, int]:
        if not self.suspects:
            return {}
        values = self.rows.column(name).filter(self.rows.column("suspect")).drop_null()
        counted = pc.value_counts(values).to_pylist()
        return {
            row["values"]: row["counts"] for row in sorted(counted, key=lambda row: (-row["counts"], row["values"]))
        }


def featurize(
    decoded: Decoded, settings: Settings, feature_set: FeatureSet = FEATURE_SET, quiet: Sequence[Decoded] = ()
) -> FlowFile:
    """The file's flows with their features; quiet: files of the sensor whose flows are learnt before."""
    if decoded.flows.num_rows == 0:
        return FlowFile(decoded, batches.empty("features", feature_set.width), feature_set=feature_set)
    baseline, stretch = None, None
    if quiet:
        baseline, stretch = learn_quiet(quiet, settings, feature_set)
        baseline = before(decoded, baseline, stretch)
    learning = settings.learning_of(decoded.site)
    rows, baseline = featurized(decoded, settings, feature_set, learning, baseline)
    learnt = learnt_in(rows, stretch, learning)
    return FlowFile(decoded, rows, feature_set=feature_set, learnt=learnt, baseline=baseline)


def score(file: FlowFile, settings: Settings) -> FlowFile:
    """The same with scores, classes and p-values, and the incidents the suspects make."""
    from models.serving.model import POOLED
    from pipeline.alert.explain import read_baseline
    from pipeline.alert.incidents import outcome_of
    from pipeline.alert.site_techniques import meanings_of_sites
    from pipeline.contracts.promotions import PromotionLedger
    from pipeline.score.device import choose_device
    from pipeline.score.model_cache import ModelCache
    from pipeline.score.scoring import score_batches

    device, _ = choose_device(settings.device)
    models = ModelCache(settings.model, folder_or_storage(settings.registry_uri, "models"), device)
    models.first.model.expect_features(file.feature_set.name, file.feature_set.hash)
    [rows] = score_batches([file.rows], PromotionLedger(1), models)
    explained, pages = read_baseline(models.first.manifest), settings.pages_of(file.decoded.site)
    meanings = meanings_of_sites(settings.techniques, settings.site_techniques)(file.decoded.site)
    origin = f"{file.decoded.site}/{file.decoded.sensor}"
    uncalibrated = models.first.model.origin_of(origin) == POOLED
    not_back, more = list[NotBack](), 0
    if uncalibrated and file.learnt is not None and not file.learnt.has_shown and file.baseline is not None:
        not_back, more = what_did_not_come_back(file.rows, file.baseline)
    came_to = outcome_of([rows], baseline_of=lambda _model: explained, meanings=meanings, pages=pages)
    return replace(
        file,
        rows=rows,
        incidents=tuple(came_to.incidents),
        lone=tuple(came_to.lone),
        uncalibrated=uncalibrated,
        not_back=tuple(not_back),
        more_not_back=more,
    )


def write_parquet(rows: pa.RecordBatch, path: Path, feature_set: FeatureSet = FEATURE_SET) -> None:
    """One row per record: the normalised fields, each feature by its name, then what the model says."""
    matrix = batches.matrix(rows) if rows.num_rows else np.empty((0, feature_set.width), np.float32)
    names = [name for name in rows.schema.names if name != "features"]
    said = [name for name in SAID if name in names]
    flow = [name for name in names if name not in said]
    columns = {name: rows.column(name) for name in flow}
    columns.update((name, pa.array(np.ascontiguousarray(matrix[:, at]))) for at, name in enumerate(feature_set.names))
    columns.update((name, rows.column(name)) for name in said)
    table = pa.table(columns).replace_schema_metadata(
        {"feature_set": feature_set.name, "feature_hash": feature_set.hash}
    )
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    try:
        write_atomic(path, memoryview(sink.getvalue()), durable=False)
    except OSError as error:
        raise Failed(f"--out {path}: got {error}, expected a file that can be written") from error


def write_alerts(incidents: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Alerts as their topic holds them, an OCSF event a line; Failed where the file cannot be written."""
    lines = b"".join(orjson.dumps(incident) + b"\n" for incident in incidents)
    try:
        write_atomic(path, lines, durable=False)
    except OSError as error:
        raise Failed(f"--alerts {path}: got {error}, expected a file that can be written") from error
