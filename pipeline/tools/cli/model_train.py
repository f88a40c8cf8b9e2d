"""`forebay model train`, `ablate` and `calibrate`: what makes a model."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.errors import Usage
from pipeline.settings import cache_folder, load_settings
from pipeline.tools.cli.model_options import (
    Files,
    Labels,
    ModelName,
    Registry,
    Sensors,
    Site,
    captures_of,
    outline,
    refusals,
    registry_of,
    say_calibration,
)
from pipeline.tools.cli.output import Json, emit, say
from pipeline.tools.cli.training_progress import training_shown

if TYPE_CHECKING:
    from models.lab.ablate import Case
    from models.serving.model import Model
    from pipeline.runtime.storage.storage import Storage


def train(
    out: Annotated[Path | None, typer.Option("--out", help="Write the model here, not into the registry.")] = None,
    file: Files = None,
    labels: Labels = None,
    sensor: Sensors = None,
    site: Site = "westermo",
    until_us: Annotated[int | None, typer.Option(help="Only flows that end before this (epoch us).")] = None,
    augmentation: Annotated[
        str | None, typer.Option(help="Rows made up for rare classes: none, smote, gan, ...")
    ] = None,
    small: Annotated[
        bool, typer.Option("--small", help="For devices without much memory: a narrow network, a table of bytes.")
    ] = False,
    teacher: Annotated[
        str | None, typer.Option(help="Trees the network learns from besides: none, or lightgbm where installed.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of everything random.")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu or cuda. [env: FOREBAY_DEVICE]")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where the same training was interrupted.")] = False,
    registry: Registry = None,
    as_json: Json = False,
) -> None:
    """Train a model on labelled flows: by default on the plant's, as the shipped one was.

    Every stage is saved in the registry's folder .training as it ends. Interrupted in any way, the same command with
    --resume continues there and makes the same bytes.
    """
    from dataclasses import replace

    from loadtest.plants.westermo import traffic
    from models.igan.config import AUGMENTATIONS, SMALL, TEACHERS, IganConfig
    from models.serving.device import resolved
    from models.training.checkpoint import checkpoints
    from models.training.stages import Stages
    from models.training.train import key_of
    from models.training.train import train as train_model
    from pipeline.tools.offline import plant_models
    from pipeline.tools.offline.training_rows import Span, feature_set

    if augmentation is not None and augmentation not in AUGMENTATIONS:
        raise Usage(f"--augmentation: got {augmentation}, expected one of {', '.join(AUGMENTATIONS)}")
    if teacher is not None and teacher not in TEACHERS:
        raise Usage(f"--teacher: got {teacher[:80]!r}, expected {', '.join(TEACHERS)}")
    config = replace(IganConfig(), **SMALL) if small else IganConfig()
    if teacher is not None:
        config = replace(config, teacher=teacher)
    if augmentation is not None:
        config = replace(config, augmentation=augmentation)
    if seed is not None:
        config = replace(config, seed=seed)
    chosen = captures_of(site, sensor, file, labels)
    span = Span(end_us=until_us or (traffic.TRAIN_END_US if file is None else Span().end_us))
    settings, features, keep = load_settings(), feature_set(), registry_of(registry)
    with refusals(), training_shown(as_json) as watch:
        where = resolved(device or settings.device)
        watch(f"reading {', '.join(f'{capture.site}/{capture.sensor}' for capture in chosen)}", 0.0)
        rows, data = plant_models.training_rows(chosen, span, settings), plant_models.data_of(chosen, span)
        with checkpoints(
            keep if isinstance(keep, Path) else cache_folder(),
            key_of(rows, features, config, data, None, where),
            resume,
        ) as store:
            if resume:
                saved = store.stages()
                say(
                    f"{saved} stages are saved" if saved else "no stage of this training is saved: it starts",
                    as_json,
                )
            model = train_model(rows, features, config, data, "forebay model train", None, Stages(watch, store), where)
            folder = keep_model(model, out, keep)
    say(f"model {model.id} in {folder}", as_json)
    say_calibration(model, as_json)
    emit({"folder": str(folder), **outline(model)})


def ablate(
    seeds: Annotated[int, typer.Option(help="How many seeds to compare on.", min=1)] = 3,
    sensor: Sensors = None,
    table: Annotated[
        str | None, typer.Option(help="A public table instead of the plant: nsl-kdd, rt-iot2022, iot-23.")
    ] = None,
    data: Annotated[Path | None, typer.Option(help="With --table: folder of the data sets.")] = None,
    as_json: Json = False,
) -> None:
    """Whether synthetic rows of rare classes help: none, repeats, SMOTE and GANs on the same encoders."""
    from models.lab import ablate as compared

    if (table is None) != (data is None):
        raise Usage("--table and --data go together: the table's name, and the folder of the data sets")
    numbers = range(1, seeds + 1)
    with refusals(), training_shown(as_json, "interrupted; nothing is stored: it starts again") as watch:
        if table is not None and data is not None:
            report = compared.ablate_table(table, data, numbers, watch)
        else:
            watch("reading the plant", 0.0)
            report = compared.ablate(_plant_case(sensor), numbers, watch)
    for name, mean in report["mean_macro_f1"].items():
        runs = ", ".join(f"{run['macro_f1']:.3f}" for run in report["runs"][name])
        say(f"{name:<14} macro-F1 {mean:.3f} ({runs})", as_json)
    say(f"the rule ships: {report['ships']}", as_json)
    emit(report)


def _plant_case(sensor: list[str] | None) -> "Case":
    from loadtest.plants.westermo import traffic
    from models.igan.config import IganConfig
    from models.lab.ablate import plant_case
    from pipeline.tools.offline import plant_models
    from pipeline.tools.offline.training_rows import Span, feature_set

    chosen = captures_of(traffic.SITE, sensor, None, None)
    rows = plant_models.training_rows(chosen, Span(end_us=traffic.TRAIN_END_US), load_settings())
    return plant_case(rows, feature_set(), IganConfig())


def calibrate(
    quiet: Annotated[Path, typer.Option("--quiet", help="Flow records of a stretch without attacks.")],
    site: Annotated[str, typer.Option("--site", help="Plant the stretch is from.")],
    sensor: Annotated[str | None, typer.Option("--sensor", help="Calibrate this sensor alone.")] = None,
    model: ModelName = "",
    alert_level: Annotated[float | None, typer.Option(help="Suspect at or below this p-value.")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Write the model here, not into the registry.")] = None,
    registry: Registry = None,
    as_json: Json = False,
) -> None:
    """Make a version of a model that knows what is usual at a site, from a quiet stretch of its traffic."""
    from models.serving import registry as models
    from models.training.recalibrate import recalibrate
    from pipeline.tools.offline.training_rows import Span, feature_set, provenance, read_rows

    if alert_level is not None and not 0 < alert_level < 1:
        raise Usage(f"--alert-level: got {alert_level}, expected a share between 0 and 1")
    features = feature_set()
    origin = f"{site}/{sensor}" if sensor else site
    with refusals():
        loaded = models.load(model, registry_of(registry))
        loaded.expect_features(features.name, features.hash)
        rows = read_rows(quiet, site, sensor or "quiet", load_settings(), Span(), None)
        (stretch,) = provenance([quiet])
        made = recalibrate(loaded, origin, rows.matrix, rows.end_ts_us, alert_level, stretch)
        folder = keep_model(made, out, registry_of(registry))
    entry = made.document["calibration"][origin]
    say(f"model {made.id} (from {loaded.id}) in {folder}", as_json)
    say_calibration(made, as_json)
    emit(
        {
            "folder": str(folder),
            "model": made.id,
            "parent": loaded.id,
            "origin": origin,
            **{name: entry[name] for name in ("n", "smallest_p_value", "alert_level")},
        }
    )


def keep_model(model: "Model", out: Path | None, registry: "Path | Storage") -> object:
    """Write a model to the folder named, else into the registry; where it lies then."""
    from models.serving import registry as models

    if out is None:
        return models.save(model, registry)
    models.write(model, out)
    return out
