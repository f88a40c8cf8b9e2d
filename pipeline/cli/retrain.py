"""`forebay retrain`: room 6 — samples, candidates, comparison, promotion."""

from pathlib import Path
from typing import Annotated, Any

import typer

from pipeline.cli.output import Bootstrap, Json, Prefix, emit, people, say
from pipeline.settings import Settings, load_settings

app = typer.Typer(no_args_is_help=True, help="Room 6: candidates, comparison, promotion.")

SPANS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def seconds(text: str) -> float:
    """`24h`, `30m`, `90s`, `0` as seconds."""
    number, unit = (text[:-1], text[-1]) if text[-1:] in SPANS else (text, "s")
    try:
        return float(number) * SPANS[unit]
    except ValueError:
        raise typer.BadParameter(f"got {text!r}, expected a number and s, m, h or d, as in 24h") from None


@app.command()
def run(
    every: Annotated[str, typer.Option(help="Train a candidate this often; 0: only on request.")] = "24h",
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
) -> None:
    """Collect samples from the topic `retrain`, and train a candidate on schedule."""
    from pipeline.retrain.door import run as run_door

    run_door(load_settings(bootstrap=bootstrap, topic_prefix=prefix), seconds(every))


@app.command()
def now(
    labels: Annotated[
        list[Path] | None, typer.Option(help="CSV with site, sensor, source_record, label; may be repeated.")
    ] = None,
    verdicts: Annotated[bool, typer.Option(help="Use the analysts' verdicts in the topic `feedback`.")] = True,
    promote: Annotated[bool, typer.Option("--promote", help="Promote the candidate if it passes.")] = False,
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
    json: Json = False,
) -> None:
    """Train a candidate from labelled samples and compare it with the current model on held-out data.

    Labels come from verdicts and label files alone, never from scores. Exits 1 if the candidate does not pass.
    """
    settings = load_settings(bootstrap=bootstrap, topic_prefix=prefix)
    document = _candidate(settings, labels or [], verdicts, promote, json)
    emit(document)
    if not document["comparison"]["passed"]:
        raise typer.Exit(1)


def _candidate(settings: Settings, files: list[Path], verdicts: bool, promote: bool, json: bool) -> dict[str, Any]:
    from models import registry
    from pipeline.offline.training_rows import feature_set, shipped_rows
    from pipeline.retrain import candidate, feedback, promotion, samples
    from pipeline.retrain import labels as labelling
    from pipeline.retrain.compare import Gates

    features = feature_set()
    current = registry.load(promotion.current(settings) or settings.model, settings.registry_uri)
    sources = [labelling.from_verdicts(feedback.verdicts(settings), current.classes)] if verdicts else []
    sources += [labelling.from_file(path, current.classes) for path in files]
    table = samples.require(samples.read(settings.samples_uri, features.hash), settings.samples_uri)
    say(f"{table.num_rows:,} samples; training a candidate beside {current.id}", quiet=json)
    with people.status("training", spinner="dots") if not json else people.capture():
        made = candidate.make(
            table,
            labelling.merge(*sources),
            shipped_rows(settings),
            features,
            current,
            settings.registry_uri,
            Gates(),
            settings.device,
        )
    document: dict[str, Any] = {
        "candidate": made.model.id,
        "current": current.id,
        "folder": str(made.folder),
        "labelled": made.labelled,
        "held_out": made.held_out,
        "comparison": made.comparison.document(),
        "promotion": None,
    }
    for name, one in (("current", made.comparison.current), ("candidate", made.comparison.candidate)):
        say(f"{name:<10} AUROC {one.auroc:.4f}  recall {one.recall:.4f}  false rate {one.false_rate:.5f}", quiet=json)
    for reason in made.comparison.against:
        say(f"[yellow]against it:[/] {reason}", quiet=json)
    if promote and made.comparison.passed:
        target = promotion.Target(made.model.id, made.model.sha256, made.model.id)
        document["promotion"] = promotion.promote(settings, target, None)
        say(f"promotion: {document['promotion']['decision']}", quiet=json)
    return document
