"""`forebay model promote`: let a model score from an event time on; commands that make candidates do so, too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.tools.cli.model_options import Registry, refusals, registry_of
from pipeline.tools.cli.model_shadow import say_shadow
from pipeline.tools.cli.output import Bootstrap, Json, Prefix, busy, emit, say
from pipeline.tools.cli.settings_here import settings_here

if TYPE_CHECKING:
    from pipeline.settings import Settings
    from pipeline.tools.promotion import Target


def promote(
    model: Annotated[str, typer.Argument(help="A model's id, or its folder.", metavar="MODEL")],
    at_us: Annotated[int | None, typer.Option(help="Event time from which it is to hold (epoch us).")] = None,
    margin: Annotated[float, typer.Option(help="Or so many seconds beyond what was scored.", min=0)] = 5.0,
    registry: Registry = None,
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
    as_json: Json = False,
) -> None:
    """Let a model score from an event time on: score's workers vote, and it holds once all partitions have accepted it.

    Refused as too late, it is issued again with a later time, unless --at-us asks for a certain one. Exits 1 if it is
    refused or still undecided. Says what a shadow of the model has seen (`forebay model shadow`).
    """
    from models.serving import registry as models
    from pipeline.runtime.kafka.clients import require_broker
    from pipeline.tools.offline.training_rows import feature_set
    from pipeline.tools.promotion import Target

    settings = settings_here(bootstrap=bootstrap, topic_prefix=prefix)
    folder = registry_of(registry, settings)
    features = feature_set()
    with refusals():
        loaded = models.load(model, folder)
        loaded.expect_features(features.name, features.hash)
        # Score looks for it in the registry, also where it came from elsewhere.
        models.save(loaded, folder)
    require_broker(settings)
    seen = say_shadow(loaded.id, folder, as_json)
    document = promoted(settings, Target(loaded.id, loaded.sha256, loaded.id), at_us, round(margin * 1e6), as_json)
    emit({**document, "shadow": seen})
    if not document["decided"]:
        raise typer.Exit(1)


def promoted(
    settings: Settings, target: Target, at_us: int | None, margin_us: int, as_json: bool = False
) -> dict[str, Any]:
    """Promote a model and say what was decided; `decided` in the document is false where that is still open."""
    from datetime import UTC, datetime

    from pipeline.tools import promotion

    with busy("waiting for score to vote", as_json):
        document = promotion.promote(settings, target, at_us, margin_us)
    from_us = document["effective_from_us"]
    when = datetime.fromtimestamp(from_us / 1e6, UTC).isoformat() if 0 <= from_us < 253_402_300_800_000_000 else ""
    document["decided"] = document["decision"] == "accepted"
    if document["decided"]:
        say(f"{target.model} holds for flows that end at {from_us} us ({when}) or later", quiet=as_json)
    else:
        say(
            f"[yellow]undecided:[/] partitions {document['partitions_missing']} have not voted; is `forebay score run` "
            "running for all of them? The promotion stays in the log: score decides on it when it gets there, and "
            "refuses it if rows beyond its time were scored by then",
            quiet=as_json,
        )
    return document
