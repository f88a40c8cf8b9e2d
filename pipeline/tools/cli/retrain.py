"""`forebay retrain`: stage 6: samples, candidates, comparison, promotion."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.runtime.terminal import printable
from pipeline.settings import Settings, load_settings
from pipeline.tools.cli import retrain_fit
from pipeline.tools.cli.folders import require_writable
from pipeline.tools.cli.model_promote import promoted
from pipeline.tools.cli.output import Bootstrap, Json, Prefix, busy, emit, say
from pipeline.tools.cli.retrain_inputs import current_model, given_labels
from pipeline.tools.cli.settings_here import settings_here
from pipeline.tools.cli.time_spans import seconds

if TYPE_CHECKING:
    from pipeline.retrain.candidate import PlantRows
    from pipeline.retrain.compare import Comparison

app = typer.Typer(no_args_is_help=True, help="Stage 6: candidates, comparison, promotion.")

app.command()(retrain_fit.fit)

LabelFiles = Annotated[
    list[Path] | None, typer.Option("--labels", help="CSV with site, sensor, source_record, label; may be repeated.")
]
UseBase = Annotated[bool, typer.Option("--base/--no-base", help="Train on the shipped plant's rows as well.")]


@app.command()
def run(
    every: Annotated[str, typer.Option(help="Train a candidate this often; 0: only on request.")] = "24h",
    labels: LabelFiles = None,
    base: UseBase = True,
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
) -> None:
    """Collect samples from the topic `retrain`, train on schedule, and fit calibrations for anchored sensors."""
    from pipeline.retrain.worker import run as run_worker

    settings = load_settings(bootstrap=bootstrap, topic_prefix=prefix)
    require_writable(settings, "samples_uri", "registry_uri")
    run_worker(settings, seconds(every), labels or [], base)


@app.command()
def now(
    labels: LabelFiles = None,
    verdicts: Annotated[bool, typer.Option(help="Use the analysts' verdicts in the topic `feedback`.")] = True,
    base: UseBase = True,
    promote: Annotated[bool, typer.Option("--promote", help="Promote the candidate if it passes.")] = False,
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
    as_json: Json = False,
) -> None:
    """Train a candidate from labelled samples and compare it with the current model on held-out data.

    Labels come from verdicts and label files alone, never from scores. Exits 1 if the candidate does not pass, or if it
    was to be promoted and was not.
    """
    import signal

    from pipeline.retrain.lock import alone

    settings = settings_here(bootstrap=bootstrap, topic_prefix=prefix)
    # Asked to stop, it leaves as after Ctrl-C: through its cleaning up.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with alone(settings.registry_uri):
            document = _candidate(settings, labels or [], verdicts, base, promote, as_json)
    except KeyboardInterrupt:
        say("cancelled; the model in use is unchanged", quiet=as_json)
        raise typer.Exit(130) from None
    emit(document)
    if not document["passed"] or (promote and document["promotion"] and not document["promotion"]["decided"]):
        raise typer.Exit(1)


def _candidate(
    settings: Settings, files: list[Path], verdicts: bool, base: bool, promote: bool, as_json: bool
) -> dict[str, Any]:
    from pipeline.retrain import candidate, samples
    from pipeline.retrain.compare import Gates
    from pipeline.retrain.verdict_weight import VerdictWeight
    from pipeline.runtime.storage.location import folder_or_storage
    from pipeline.tools import promotion
    from pipeline.tools.offline.training_rows import feature_set

    features = feature_set()
    current = current_model(settings, promotion.current(settings))
    labels = given_labels(settings, files, verdicts, current)
    available = samples.require(samples.count(settings.samples_uri, features.hash), settings.samples_uri)
    table = samples.read(settings.samples_uri, features.hash, lambda keys: labels.apply(keys).touched, candidate.KEYS)
    weight = VerdictWeight(settings.verdict_weight, settings.verdict_max_rows)
    labelled = candidate.labelled_rows(table, labels, weight)
    document: dict[str, Any] = {
        "candidate": None,
        "current": current.id,
        "samples": available,
        "labelled": candidate.provenance(labelled, labels),
        "passed": True,
        "comparison": None,
        "promotion": None,
    }
    _say_labels(document["labelled"], available, as_json)
    if candidate.has_seen(current, labelled):
        say(f"nothing new: {current.id} was made from these labels; no candidate", quiet=as_json)
        return document
    with busy("featurizing the base rows", as_json):
        rows = shipped_rows(settings) if base else candidate.PlantRows(None, [])
    with busy(f"training a candidate beside {current.id}", as_json):
        made = candidate.make(
            labelled,
            labels,
            rows,
            features,
            current,
            folder_or_storage(settings.registry_uri, "models"),
            Gates(),
            settings.device,
            lambda model: retrain_fit.fitted_again(settings, features, model, current, labels),
        )
    document |= {
        "candidate": made.model.id,
        "folder": str(made.folder),
        "trained_on": made.trained_on,
        "held_out": made.held_out,
        "passed": made.comparison.passed,
        "comparison": made.comparison.document(),
    }
    _say_comparison(made.comparison, as_json)
    if promote and made.comparison.passed:
        target = promotion.Target(made.model.id, made.model.sha256, made.model.id)
        document["promotion"] = promoted(settings, target, None, promotion.MARGIN_US, as_json)
    return document


def shipped_rows(settings: Settings) -> "PlantRows":
    """The rows the shipped model was trained on, as `forebay model train` reads them."""
    from loadtest.plants.westermo import traffic
    from pipeline.retrain.candidate import PlantRows
    from pipeline.tools.offline import plant_models
    from pipeline.tools.offline.training_rows import Span

    captures = plant_models.captures(
        traffic.SITE, traffic.SENSORS, [traffic.zipped(sensor) for sensor in traffic.SENSORS], []
    )
    span = Span(end_us=traffic.TRAIN_END_US)
    return PlantRows(plant_models.training_rows(captures, span, settings), plant_models.data_of(captures, span))


def _say_labels(labelled: dict[str, Any], available: int, as_json: bool) -> None:
    kinds = ", ".join(f"{count:,} {name}" for name, count in labelled["labels"].items())
    say(f"{available:,} samples, {labelled['rows']:,} of them labelled: {kinds}", quiet=as_json)
    for name, count in labelled["by"].items():
        say(f"  {count:,} by {_plain(name)}", quiet=as_json)
    for name in ("conflicting", "overruled", "undone", "unusable"):
        if labelled[name]:
            say(f"  {labelled[name]:,} {name}", quiet=as_json)


def _say_comparison(comparison: "Comparison", as_json: bool) -> None:
    for name, figures in (("current", comparison.current), ("candidate", comparison.candidate)):
        say(
            f"{name:<10} AUROC {figures.auroc:.4f}  recall {figures.recall:.4f}  false rate {figures.false_rate:.5f}",
            quiet=as_json,
        )
    for name, known in (("current", comparison.known_current), ("candidate", comparison.known_candidate)):
        if known.recall:
            recall = ", ".join(f"{kind} {share:.3f}" for kind, share in known.recall.items())
            say(f"{name:<10} known attacks found: {recall}; false rate {known.false_rate:.5f}", quiet=as_json)
    for reason in comparison.against:
        say(f"[yellow]against it:[/] {_plain(reason)}", quiet=as_json)


def _plain(text: str) -> str:
    """Text from outside (a verdict's author, a site's name) as text: no markup, no control characters."""
    from rich.markup import escape

    return escape(printable(text))
