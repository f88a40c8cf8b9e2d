"""Training and evaluation on a plant's labelled files: which rows, which events, which figures. No Kafka."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.contracts.class_names import UNKNOWN
from pipeline.errors import Usage
from pipeline.settings import Settings
from pipeline.tools.offline.training_rows import (
    CLASS_OF,
    ColdStarts,
    Span,
    feature_set,
    provenance,
    read_labels,
    read_rows,
)

if TYPE_CHECKING:
    from models.igan.config import IganConfig
    from models.rows import Rows
    from models.serving.engine import Engine
    from models.serving.model import Model
    from models.training.evaluate import Stretch


@dataclass(frozen=True, slots=True)
class Capture:
    """One sensor's labelled file."""

    site: str
    sensor: str
    path: Path
    labels: Path


def captures(site: str, sensors: Sequence[str], files: Sequence[Path], labels: Sequence[Path]) -> tuple[Capture, ...]:
    """Files with their sensors and labels (by default in the files themselves); Usage where the numbers differ."""
    if len(sensors) != len(files) or (labels and len(labels) != len(files)):
        raise Usage(
            f"got {len(files)} files, {len(sensors)} sensors and {len(labels)} label files, expected one sensor, and "
            "one label file if any, for each file; repeat --file, --sensor and --labels in the same order"
        )
    return tuple(
        Capture(site, sensor, path, label) for sensor, path, label in zip(sensors, files, labels or files, strict=True)
    )


def training_rows(chosen: Sequence[Capture], span: Span, settings: Settings) -> "Rows":
    """Rows to train on: each file from its start, and again from several cold starts."""
    from models.rows import concatenate

    return concatenate(
        [
            read_rows(
                capture.path, capture.site, capture.sensor, settings, span, read_labels(capture.labels), ColdStarts()
            )
            for capture in chosen
        ]
    )


def data_of(chosen: Sequence[Capture], span: Span) -> list[dict[str, Any]]:
    """What these rows are, for the manifest."""
    return [
        {**entry, "site": capture.site, "sensor": capture.sensor, "ends_before_us": span.end_us}
        for capture, entry in zip(chosen, provenance([capture.path for capture in chosen]), strict=True)
    ]


def train(chosen: Sequence[Capture], span: Span, settings: Settings, config: "IganConfig", command: str) -> "Model":
    """A model from labelled files."""
    from models.training.train import train as train_model

    return train_model(training_rows(chosen, span, settings), feature_set(), config, data_of(chosen, span), command)


def evaluate(
    model: "Model",
    chosen: Sequence[Capture],
    span: Span,
    settings: Settings,
    events: "Sequence[Stretch]" = (),
    engine: "Engine | None" = None,
) -> dict[str, Any]:
    """Figures of a model on labelled files, each sensor from a cold start; `engine` scores, by default the kernel."""
    from models.rows import concatenate
    from models.serving.score import Scorer
    from models.training.evaluate import detection, events_detected

    features = feature_set()
    model.expect_features(features.name, features.hash)
    scorer = Scorer(model, "cpu", engine)
    sensors: dict[str, Any] = {}
    parts, suspects = [], []
    for capture in chosen:
        rows = read_rows(capture.path, capture.site, capture.sensor, settings, span, read_labels(capture.labels))
        scored = scorer.score(rows.matrix, rows.end_ts_us, rows.origin)
        key = model.origin_of(f"{capture.site}/{capture.sensor}")
        benign = model.classes[: model.config.benign]
        said = np.array(model.classes)[scored.class_index]
        harmless = scored.class_index < model.config.benign
        sensors[capture.sensor] = {
            "calibration": key,
            "alert_level": model.origins[key].alert_level,
            **detection(scored.score, scored.suspect, rows.label, benign, model.config.coarse),
            "class_recall": _class_recall(said, rows.label, benign),
            # What is left of it where the model says that it knows the class.
            "known_recall": _class_recall(np.where(harmless | scored.known, said, UNKNOWN), rows.label, benign),
        }
        parts.append(rows)
        suspects.append(scored.suspect)
    judged = events_detected(events, concatenate(parts), np.concatenate(suspects)) if events else []
    return {
        "model": model.id,
        "sensors": sensors,
        "events": {
            kind: {
                "found": sum(e["found"] for e in judged if e["kind"] == kind),
                "of": sum(e["kind"] == kind for e in judged),
            }
            for kind in ("attack", "fault", "benign")
        },
        "missed": [event for event in judged if not event["found"] and event["kind"] != "benign"],
        "found": [event for event in judged if event["found"]],
    }


def across(
    chosen: Sequence[Capture],
    other: Sequence[Capture],
    before: Span,
    after: Span,
    settings: Settings,
    config: "IganConfig",
) -> dict[str, Any]:
    """Train on some sensors before the cut, calibrate others on their quiet rows, judge those after it."""
    from models.training.label_trust import class_numbers, quiet
    from models.training.recalibrate import recalibrate

    model = train(chosen, before, settings, config, "")
    for capture in other:
        rows = read_rows(capture.path, capture.site, capture.sensor, settings, before, read_labels(capture.labels))
        calm = rows.take(quiet(rows, class_numbers(rows, config), config))
        model = recalibrate(model, f"{capture.site}/{capture.sensor}", calm.matrix, calm.end_ts_us, config.alert_level)
    return evaluate(model, other, after, settings)


def events_of(events: Sequence[Any]) -> "list[Stretch]":
    """The event log's entries (name, kind, start_us, end_us) as stretches labelled with a model's class."""
    from models.training.evaluate import Stretch

    return [Stretch(e.name, CLASS_OF[e.name], e.kind, e.start_us, e.end_us) for e in events]


def _class_recall(said: Any, label: Any, benign: tuple[str, ...]) -> dict[str, float]:
    """Share of each class's rows the classifier names rightly; the benign classes count as one."""
    truth = np.where(np.isin(label, benign), benign[0], label)
    return {str(name): float((said[truth == name] == name).mean()) for name in np.unique(truth)}
