"""`forebay model backtest`: a model on history, against what scored then; a gate before promotion."""

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from pipeline.cli.output import Bootstrap, Json, Prefix, emit, say
from pipeline.cli.replay import Archive, Since, Source, Until, Workers
from pipeline.settings import load_settings


def backtest(
    model: Annotated[str, typer.Argument(help="A model's id or folder, or 'shipped'.", metavar="MODEL")],
    since: Since = None,
    until: Until = None,
    source: Source = "archive",
    against: Annotated[
        str | None, typer.Option(help="Another model to compare with; else what scored live.", show_default=False)
    ] = None,
    labels: Annotated[
        list[Path] | None, typer.Option(help="CSV of site, sensor, source_record, label; may be given again.")
    ] = None,
    max_incidents_a_day: Annotated[
        float | None, typer.Option(help="Gate: no more incidents a day than this.", min=0)
    ] = None,
    max_lost: Annotated[int | None, typer.Option(help="Gate: no more incidents lost than this.", min=0)] = None,
    max_gained: Annotated[int | None, typer.Option(help="Gate: no more incidents gained than this.", min=0)] = None,
    min_recall: Annotated[float | None, typer.Option(help="Gate, with labels: recall.", min=0, max=1)] = None,
    max_false_rate: Annotated[
        float | None, typer.Option(help="Gate, with labels: suspects among normal flows.", min=0, max=1)
    ] = None,
    workers: Workers = 1,
    archive: Archive = None,
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
    json: Json = False,
) -> None:
    """Replay history with a model and compare with what scored it live; exit 1 where a gate is not passed.

    Example: forebay model backtest m-20261124 --from 2026-11-01 --max-lost 0 --max-incidents-a-day 20
    """
    from pipeline.cli.replay import compared, event_us, replayed
    from pipeline.replay.request import Request

    settings = load_settings(bootstrap=bootstrap, topic_prefix=prefix, archive_uri=archive)
    bounds = event_us(since, "--from"), event_us(until, "--to")
    stamp = time.strftime("%Y%m%d-%H%M%S")
    runs = []
    for name, chosen in (("before", against), ("backtest", model)):
        request = Request(f"{name}-{stamp}", source, *bounds, model=chosen, features=False)
        runs.append(replayed(settings, request, workers, json)["run"])
    document = compared(settings, runs[0], runs[1], labels or [], None, json)
    refusals = gate(document, max_incidents_a_day, max_lost, max_gained, min_recall, max_false_rate)
    for reason in refusals:
        say(f"not passed: {reason}", quiet=json)
    say("the gate is passed" if not refusals else "NOT passed", quiet=json)
    emit({**document, "model": model, "passed": not refusals, "refusals": refusals})
    if refusals:
        raise typer.Exit(1)


def gate(
    document: dict[str, Any],
    max_incidents_a_day: float | None,
    max_lost: int | None,
    max_gained: int | None,
    min_recall: float | None,
    max_false_rate: float | None,
) -> list[str]:
    """Why a comparison does not pass; empty where it does. A bound on labels is not passed where there are none."""
    after = document["second"]
    found = []
    for name, value, bound, above in (
        ("incidents a day", after["incidents_a_day"], max_incidents_a_day, True),
        ("incidents lost", document["incidents"]["lost"], max_lost, True),
        ("incidents gained", document["incidents"]["gained"], max_gained, True),
        ("recall", after.get("recall"), min_recall, False),
        ("suspects among normal flows", after.get("false_rate"), max_false_rate, True),
    ):
        if bound is None:
            continue
        if value is None:
            found.append(f"{name}: no flow has a label, expected some; give --labels")
        elif (value > bound) if above else (value < bound):
            found.append(f"{name}: got {value:.4g}, expected {'at most' if above else 'at least'} {bound:g}")
    return found
