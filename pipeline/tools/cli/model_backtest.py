"""`forebay model backtest`: a model on history, against what scored then; a gate before promotion."""

import time
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from pipeline.tools.cli.output import Bootstrap, Json, Prefix, emit, say
from pipeline.tools.cli.replay import Archive, Labels, Since, Source, Until, Verdicts, Workers
from pipeline.tools.cli.settings_here import settings_here
from pipeline.tools.gate import beyond


def backtest(
    model: Annotated[str, typer.Argument(help="A model's id or folder, or 'shipped'.", metavar="MODEL")],
    since: Since = None,
    until: Until = None,
    source: Source = "archive",
    against: Annotated[
        str | None, typer.Option(help="Another model to compare with; else what scored live.", show_default=False)
    ] = None,
    labels: Labels = None,
    verdicts: Verdicts = None,
    max_incidents_a_day: Annotated[
        float | None, typer.Option(help="Gate: no more incidents a day than this.", min=0)
    ] = None,
    max_lost: Annotated[int | None, typer.Option(help="Gate: no more incidents lost than this.", min=0)] = None,
    max_gained: Annotated[int | None, typer.Option(help="Gate: no more incidents gained than this.", min=0)] = None,
    min_recall: Annotated[
        float | None, typer.Option(help="Gate, with labels or verdicts: recall of flows.", min=0, max=1)
    ] = None,
    max_false_rate: Annotated[
        float | None, typer.Option(help="Gate, with labels or verdicts: suspects among normal flows.", min=0, max=1)
    ] = None,
    min_confirmed: Annotated[
        float | None, typer.Option(help="Gate, with verdicts: share of confirmed incidents found.", min=0, max=1)
    ] = None,
    max_false_verdicts: Annotated[
        int | None, typer.Option(help="Gate, with verdicts: no more incidents judged false raised again.", min=0)
    ] = None,
    workers: Workers = 1,
    archive: Archive = None,
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
    as_json: Json = False,
) -> None:
    """Replay history with a model and compare with what scored it live; exit 1 where a gate is not passed.

    Example: forebay model backtest m-20261124 --from 2026-11-01 --max-lost 0 --max-incidents-a-day 20
    """
    from pipeline.tools.cli.replay import compared, replayed, times_us
    from pipeline.tools.replay.request import Request

    settings = settings_here(bootstrap=bootstrap, topic_prefix=prefix, archive_uri=archive)
    bounds = times_us(since, until)
    stamp = time.strftime("%Y%m%d-%H%M%S")
    runs = []
    for name, chosen in (("before", against), ("backtest", model)):
        request = Request(f"{name}-{stamp}", source, *bounds, model=chosen, features=False)
        runs.append(replayed(settings, request, workers, as_json)["run"])
    document = compared(settings, runs[0], runs[1], labels or [], verdicts or [], None, as_json)
    asked = Bounds(
        max_incidents_a_day, max_lost, max_gained, min_recall, max_false_rate, min_confirmed, max_false_verdicts
    )
    refusals = gate(document, asked)
    for reason in refusals:
        say(f"not passed: {reason}", quiet=as_json)
    say("the gate is passed" if not refusals else "NOT passed", quiet=as_json)
    emit({**document, "model": model, "passed": not refusals, "refusals": refusals})
    if refusals:
        raise typer.Exit(1)


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a backtest must not go beyond; None where nothing is asked."""

    max_incidents_a_day: float | None = None
    max_lost: int | None = None
    max_gained: int | None = None
    min_recall: float | None = None
    max_false_rate: float | None = None
    min_confirmed: float | None = None
    max_false_verdicts: int | None = None


def gate(document: dict[str, Any], bounds: Bounds) -> list[str]:
    """Why a comparison does not pass; empty where it does.

    A bound on labels or verdicts is not passed where there are none: that would be a gate that nobody stands at. Nor is
    any of history of which nothing is in both.
    """
    after, incidents = document["second"], document["incidents"]
    judged = after.get("verdicts", {})
    no_labels = "no flow has a label, expected some; give --labels or --verdicts"
    no_verdicts = "no incident of this history has such a verdict, expected some; give --verdicts"
    false = judged.get("false_raised") if judged.get("false") else None
    missed = []
    if not document["flows"]["both"]:
        missed.append("no flow is in both: there is nothing to judge by; check --from, --to and --source")
    for name, value, bound, above, without in (
        ("incidents a day", after["incidents_a_day"], bounds.max_incidents_a_day, True, ""),
        ("incidents lost", incidents["lost"], bounds.max_lost, True, ""),
        ("incidents gained", incidents["gained"], bounds.max_gained, True, ""),
        ("recall", after.get("recall"), bounds.min_recall, False, no_labels),
        ("suspects among normal flows", after.get("false_rate"), bounds.max_false_rate, True, no_labels),
        ("confirmed incidents found", judged.get("recall"), bounds.min_confirmed, False, no_verdicts),
        ("incidents judged false", false, bounds.max_false_verdicts, True, no_verdicts),
    ):
        if bound is None:
            continue
        missed += [f"{name}: {without}"] if value is None else beyond(name, value, bound, above)
    return missed
