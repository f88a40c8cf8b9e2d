"""What suspects are called, and how much of it is wrong: another sensor of the plant, and plants never seen.

A capture without labels, or whose labels name no class of the model, has no right names: each counts as wrong, so its
share is an upper bound. RT-IoT2022 is not among them: its table has neither times nor addresses, and no feature of a
flow can be computed from it.
"""

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.contracts.class_names import NORMAL, UNKNOWN
from pipeline.featurize.baseline.judge import COLUMNS
from pipeline.featurize.sensor import featurize_file_rows
from pipeline.ingest.files.offline_rows import decode_file
from pipeline.runtime.wire.batches import matrix
from pipeline.settings import Settings
from pipeline.tools.offline import plant_models
from pipeline.tools.offline.flow_file import featurize
from pipeline.tools.offline.training_rows import Span, feature_set, read_labels, read_rows

if TYPE_CHECKING:
    from models.igan.config import IganConfig
    from models.serving.model import Model

Strings = npt.NDArray[np.str_]
FOREIGN = "foreign"
"""Name of the site that no model has seen."""
OTHER = "other"
"""An attack of no class of the model."""
EXAMPLES = 3
SHOWN = ("src_addr", "dst_addr", "ip_proto", "dst_port", "app_proto", "class", "nearest_class")
IOT_23 = {"PartOfAHorizontalPortScan": "portscan"}


@dataclass(frozen=True, slots=True)
class Named:
    """Figures of one plant: suspects, how many the classifier alone would name, how many have a name, how many wrongly.

    examples: some suspects that the classifier alone would name.
    """

    plant: str
    calibrated: bool
    flows: int
    suspects: int
    likeliest_named: int
    named: int
    wrong: int
    names: dict[str, int]
    examples: list[dict[str, Any]]

    @property
    def wrong_share(self) -> float:
        """Share of suspects with a wrong name."""
        return self.wrong / max(self.suspects, 1)

    def document(self) -> dict[str, Any]:
        """As JSON values."""
        fields = {name: getattr(self, name) for name in self.__slots__ if name != "examples"}
        return {**fields, "wrong_share": self.wrong_share, "examples": self.examples}


def judge(plant: str, calibrated: bool, scored: pa.RecordBatch, truth: Strings | None) -> Named:
    """Figures of scored rows; `truth` (records of the file,) is the class of each record, None where nobody knows."""
    suspects = scored.filter(scored.column("suspect"))
    name = np.array(suspects.column("class").to_pylist(), dtype=np.str_)
    likeliest = pc.coalesce(suspects.column("nearest_class"), suspects.column("class"))
    named = ~np.isin(name, (NORMAL, UNKNOWN))
    wrong = named.copy()
    if truth is not None:
        wrong &= truth[suspects.column("source_record").to_numpy(zero_copy_only=False).astype(np.int64)] != name
    of_a_name = np.flatnonzero(pc.not_equal(likeliest, NORMAL).to_numpy(zero_copy_only=False))
    some = of_a_name[np.linspace(0, len(of_a_name) - 1, EXAMPLES).astype(int)] if len(of_a_name) else of_a_name
    kinds, counts = np.unique(name, return_counts=True)
    return Named(
        plant,
        calibrated,
        scored.num_rows,
        suspects.num_rows,
        len(of_a_name),
        int(named.sum()),
        int(wrong.sum()),
        dict(zip(kinds.tolist(), counts.tolist(), strict=True)),
        suspects.select(SHOWN).take(pa.array(np.unique(some), pa.int64())).to_pylist(),
    )


def without_baselines(rows: pa.RecordBatch) -> pa.RecordBatch:
    """Rows of schema `features` as if their sensor learnt nothing: by the pooled calibration most are suspects abroad.

    Names have to hold for whatever makes a suspect; those that a baseline shows are too few to measure that.
    """
    for name in COLUMNS:
        at = rows.schema.get_field_index(name)
        rows = rows.set_column(at, rows.schema.field(at), pa.nulls(rows.num_rows, rows.schema.field(at).type))
    return rows


def scored_by(model: "Model", rows: pa.RecordBatch) -> pa.RecordBatch:
    """Rows of schema `features` as the score stage would score them."""
    from models.serving import registry
    from pipeline.contracts.promotions import PromotionLedger
    from pipeline.score.model_cache import ModelCache
    from pipeline.score.scoring import score_batches

    with tempfile.TemporaryDirectory(prefix="forebay-names-") as folder:
        registry.save(model, Path(folder))
        [scored] = score_batches([rows], PromotionLedger(1), ModelCache(model.id, Path(folder), "cpu"))
        return scored


def other_sensor(train_on: str, test_on: str, settings: Settings, config: "IganConfig") -> Iterator[Named]:
    """Westermo: a model of one sensor before the cut, on the other's flows after it; as it is, then calibrated."""
    from loadtest.plants.westermo import traffic
    from models.training.label_trust import class_numbers, quiet
    from models.training.recalibrate import recalibrate

    before, path = Span(end_us=traffic.TRAIN_END_US), traffic.zipped(test_on)
    chosen = plant_models.captures(traffic.SITE, [train_on], [traffic.zipped(train_on)], [])
    model = plant_models.train(chosen, before, settings, config, "")
    truth = read_labels(path)
    rows = read_rows(path, traffic.SITE, test_on, settings, before, truth)
    calm = rows.take(quiet(rows, class_numbers(rows, config), config))
    origin = f"{FOREIGN}/{test_on}"
    flows = decode_file(path, site=FOREIGN, sensor=test_on, ingest_ts_us=traffic.FIRST_FLOW_US, max_future_us=2**62)
    after = flows.flows.filter(pc.greater_equal(flows.flows.column("start_ts_us"), traffic.CUT_US))
    batch = without_baselines(featurize_file_rows(after, settings.lateness_of(FOREIGN)))
    plant = f"westermo, {train_on} to {test_on}"
    yield judge(plant, False, scored_by(model, batch), truth)
    model = recalibrate(model, origin, calm.matrix, calm.end_ts_us, config.alert_level)
    yield judge(plant, True, scored_by(model, batch), truth)


def foreign_plants(model: "Model", data: Path, settings: Settings) -> Iterator[Named]:
    """Every capture of a plant never seen that lies in the folder of the data sets; as the model is, then calibrated.

    Calibrated on the first half of the time, of labelled captures on what is benign in it, and judged on the second.
    """
    from models.training.recalibrate import recalibrate

    model.expect_features(feature_set().name, feature_set().hash)
    for path, label in captures_in(data):
        truth = label(path) if label is not None else None
        decoded = decode_file(path, site=FOREIGN, sensor="s", ingest_ts_us=2**51, max_future_us=2**62)
        rows = without_baselines(featurize(decoded, settings).rows)
        name = path.parent.name if path.name == "conn.log" else path.name.split(".")[0]
        yield judge(name, False, scored_by(model, rows), truth)
        end_us = rows.column("end_ts_us").to_numpy()
        first_half = end_us < (int(end_us.min()) + int(end_us.max())) // 2
        calm = first_half.copy()
        if truth is not None:
            calm &= truth[rows.column("source_record").to_numpy(zero_copy_only=False).astype(np.int64)] == NORMAL
        if int(calm.sum()) < least_quiet():
            continue
        calibrated = recalibrate(model, f"{FOREIGN}/s", matrix(rows)[calm], end_us[calm])
        later = rows.filter(pa.array(~first_half))
        yield judge(name, True, scored_by(calibrated, later), truth)


def least_quiet() -> int:
    """How many quiet flows a calibration takes."""
    from models.igan.calibrate import LEAST_ROWS

    return LEAST_ROWS


def captures_in(data: Path) -> Iterator[tuple[Path, Callable[[Path], Strings] | None]]:
    """The captures of a folder of data sets, with what reads their labels."""
    for path in sorted((data / "iot-23").glob("*.conn.log.labeled")):
        yield path, iot_23_truth
    formats = data / "formats"
    plain = ("zeek-tsv/4SICS-*/conn.log", "argus/derived/lemay-*.argus.csv", "nfdump/derived/lemay-*.nfdump.json")
    for pattern in plain:
        for path in sorted(formats.glob(pattern)):
            yield path, None


def iot_23_truth(path: Path) -> Strings:
    """Class of every data row of a labelled conn.log of IoT-23."""
    details = iot_23_details(path)
    return np.array(
        [NORMAL if is_benign else IOT_23.get(detail, OTHER) for is_benign, detail in details], dtype=np.str_
    )


def iot_23_details(path: Path) -> Iterator[tuple[bool, str]]:
    """Of every data row of a labelled conn.log of IoT-23 whether it is benign, and what it is else."""
    with path.open(encoding="utf-8") as file:
        for line in file:
            if not line.startswith("#"):
                # The last field holds three, with blanks between: tunnel_parents, label, detailed-label.
                label, detail = line.rsplit("\t", 1)[-1].split()[-2:]
                yield label.lower() == "benign", detail
