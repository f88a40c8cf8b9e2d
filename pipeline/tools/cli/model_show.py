"""`forebay model list`, `show`, `verify` and `card`: what a registry holds."""

from pathlib import Path
from typing import Annotated

import typer

from pipeline.errors import Failed
from pipeline.tools.cli.model_options import ModelName, Registry, outline, refusals, registry_of, say_calibration
from pipeline.tools.cli.model_shadow import say_shadow
from pipeline.tools.cli.output import Json, emit, people, say


def list_(registry: Registry = None, as_json: Json = False) -> None:
    """The shipped model and those of the registry."""
    from models.errors import EarlierModel
    from models.serving import registry as models

    folder = registry_of(registry)
    with refusals():
        listed = [("shipped", models.load())] if (models.SHIPPED / models.MANIFEST).is_file() else []
        earlier = []
        for name in models.list_models(folder):
            try:
                listed.append((str(models.locate(name, folder)), models.load(name, folder)))
            except EarlierModel:
                earlier.append(name)
    for location, model in listed:
        say(f"{model.id}  {model.document['feature_set']}  {location}", as_json)
    for name in earlier:
        say(f"{name}  of an earlier version of Forebay: nothing scores with it any more", as_json)
    emit(
        {
            "models": [
                {"model": model.id, "parent": model.document["parent"], "place": location} for location, model in listed
            ],
            "earlier": earlier,
        }
    )


def show(model: ModelName = "", registry: Registry = None, as_json: Json = False) -> None:
    """What a model was made of and how good it is, from its manifest, and what its shadow has seen."""
    from models.serving import registry as models
    from models.serving.card import parameters

    folder = registry_of(registry)
    with refusals():
        loaded = models.load(model, folder)
    say(
        f"{loaded.id}: {', '.join(loaded.classes)}; {len(loaded.features)} features, {loaded.document['feature_set']}",
        as_json,
    )
    say(
        f"  network of {parameters(loaded):,} parameters, look-up table {loaded.config.table}",
        as_json,
    )
    say_calibration(loaded, as_json)
    emit({**outline(loaded), "shadow": say_shadow(loaded.id, folder, as_json)})


def verify(model: ModelName = "", registry: Registry = None, as_json: Json = False) -> None:
    """Check a model's files: schema, digests, shapes, bounds."""
    from models.serving import registry as models

    with refusals():
        facts = models.verify(model, registry_of(registry))
    say(f"{facts['model']}: whole; {facts['numbers']:,} numbers in {facts['tensors']} tensors", as_json)
    emit(facts)


def card(
    model: Annotated[
        str, typer.Argument(help="A model's id, or its folder; the shipped one by default.", metavar="[MODEL]")
    ] = "",
    out: Annotated[Path | None, typer.Option("--out", help="Write it to this file, as Markdown.")] = None,
    registry: Registry = None,
    as_json: Json = False,
) -> None:
    """A model's card: what it is for and not for, what it was made of, how good it is, where it ends."""
    from models.serving import card as cards
    from models.serving import registry as models
    from models.serving.card_text import markdown

    with refusals():
        facts = cards.card(models.load(model, registry_of(registry)))
    if out is not None:
        try:
            out.write_text(markdown(facts), "utf-8")
        except OSError as error:
            raise Failed(f"{out}: the card could not be written: {error.strerror}; name another file") from error
        say(f"card of {facts['model']} in {out}", as_json)
    elif not as_json:
        people.print(markdown(facts), markup=False, soft_wrap=True)
    emit(facts)
