"""What the commands of `forebay model` share: their options, which files they mean, what they say of a model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.errors import RefusedState, Usage
from pipeline.settings import Settings, load_settings
from pipeline.tools.cli.output import say

if TYPE_CHECKING:
    from models.serving.model import Model
    from pipeline.runtime.storage.storage import Storage
    from pipeline.tools.offline.plant_models import Capture

ModelName = Annotated[str, typer.Option("--model", help="A model's id, or its folder; the shipped one by default.")]
Files = Annotated[list[Path] | None, typer.Option("--file", help="Labelled flow records; the plant's by default.")]
Labels = Annotated[list[Path] | None, typer.Option("--labels", help="CSV with NST_M_Label; the files by default.")]
Sensors = Annotated[list[str] | None, typer.Option("--sensor", help="The sensor of each file, in the same order.")]
Site = Annotated[str, typer.Option("--site", help="Plant the files are from.")]
Registry = Annotated[
    str | None,
    typer.Option("--registry", help="Folder of models, or s3://bucket/prefix. [env: FOREBAY_REGISTRY_URI]"),
]


@contextmanager
def refusals() -> Iterator[None]:
    """Turn a refused model into our error with its exit code."""
    from models.errors import RefusedModel

    try:
        yield
    except RefusedModel as error:
        raise RefusedState(str(error)) from error


def registry_of(location: str | None, settings: Settings | None = None) -> Path | Storage:
    """The registry: the option, else the setting."""
    from pipeline.runtime.storage.location import folder_or_storage

    return folder_or_storage(location or (settings or load_settings()).registry_uri, "models")


def captures_of(
    site: str, sensors: list[str] | None, files: list[Path] | None, labels: list[Path] | None
) -> tuple[Capture, ...]:
    """The files given, or the plant's own."""
    from loadtest.plants.westermo import traffic
    from pipeline.tools.offline.plant_models import captures

    if files is None:
        chosen = sensors or list(traffic.SENSORS)
        unknown = sorted(set(chosen) - set(traffic.SENSORS))
        if unknown:
            raise Usage(f"--sensor: got {', '.join(unknown)}, expected {', '.join(traffic.SENSORS)}, or give --file")
        return captures(traffic.SITE, chosen, [traffic.zipped(sensor) for sensor in chosen], labels or [])
    return captures(site, sensors or [path.name.split(".")[0] for path in files], files, labels or [])


def outline(model: Model) -> dict[str, Any]:
    """What people want to know of a model at once."""
    from models.serving.card import parameters

    document = model.document
    return {
        "model": model.id,
        "parent": document["parent"],
        "feature_set": document["feature_set"],
        "feature_hash": document["feature_hash"],
        "classes": document["classes"],
        "parameters": parameters(model),
        "table": model.config.table,
        "calibration": {
            key: {name: entry[name] for name in ("n", "smallest_p_value", "alert_level")}
            for key, entry in document["calibration"].items()
        },
        "metrics": document["metrics"],
        "training": document["training"],
        "data": document["data"],
    }


def say_calibration(model: Model, quiet: bool) -> None:
    """A line for every origin: how many flows its p-values rest on, the smallest of these, and the alert level."""
    for key, entry in model.document["calibration"].items():
        say(
            # No wider than 80 columns, where the origin's name has at most 20.
            f"  {key:<20} {entry['n']:>6,} quiet flows, p >= {entry['smallest_p_value']:.1e}, "
            f"suspect: p <= {entry['alert_level']:.1e}",
            quiet,
        )
