"""`forebay model promote`: let a model score from an event time on."""

from typing import Annotated

import typer

from pipeline.tools.cli.model_options import Registry, refusals, registry_of
from pipeline.tools.cli.output import Bootstrap, Json, Prefix, emit
from pipeline.tools.cli.settings_here import settings_here


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
    refused or still undecided.
    """
    from models.serving import registry as models
    from pipeline.runtime.kafka.clients import require_broker
    from pipeline.tools.cli.retrain import promoted
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
    document = promoted(settings, Target(loaded.id, loaded.sha256, loaded.id), at_us, round(margin * 1e6), as_json)
    emit(document)
    if not document["decided"]:
        raise typer.Exit(1)
