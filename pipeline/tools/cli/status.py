"""`forebay status`: how a system on this machine does."""

from typing import Annotated, Any

import typer

from pipeline.settings import load_settings
from pipeline.tools.cli.output import Json, emit, people, say
from pipeline.tools.cli.table import table
from pipeline.tools.cli.up import RunFolder

app = typer.Typer(help="How the system of `forebay up` does: workers, Kafka, memory, last errors.")

COLUMNS = ["", "state", "pid", "restarts", "up", "rows in", "rows out", "rejected", "lag", "RSS MiB", "PSS MiB"]


@app.callback(invoke_without_command=True)
def status(
    folder: RunFolder = None,
    cpu: Annotated[
        float, typer.Option("--cpu", min=0, max=3600, help="Measure processor time for so many seconds.")
    ] = 0.0,
    as_json: Json = False,
) -> None:
    """Show each worker's state, rows, lag and memory, Kafka's, and last errors; exit 1 unless everything is ready.

    Example: forebay status --cpu 30
    """
    from pipeline.tools.system import control, record
    from pipeline.tools.system import status as system_status

    chosen = load_settings(run_folder=folder).run_folder.absolute()
    system = record.read(chosen)
    if system is None:
        say(f"no system runs in {chosen}; start one with `forebay up`", quiet=as_json)
        others = control.elsewhere()
        for other in others:
            say(f"one runs in {other}: forebay status --folder {other}", quiet=as_json)
        emit({"running": False, "ready": False, "folder": str(chosen), "elsewhere": [str(each) for each in others]})
        raise typer.Exit(1)
    document = system_status.document(system, cpu)
    if not as_json:
        _show(document)
    emit(document)
    if not document["ready"]:
        raise typer.Exit(1)


def _show(document: dict[str, Any]) -> None:
    processes = [document["supervisor"], *document["workers"]]
    if document["broker"]:
        processes.append({**document["broker"], "name": "Kafka"})
    measured = document["cpu_percent"] is not None
    rows = [_row(each, measured) for each in processes]
    total = ["sum", *[""] * 8, _mib(document["rss_bytes"]), _mib(document["pss_bytes"])]
    rows.append([*total, _percent(document["cpu_percent"])] if measured else total)
    say(table([*COLUMNS, "CPU %"] if measured else COLUMNS, rows))
    for each in processes:
        if each["last_error"]:
            line = "; ".join(filter(None, (each["last_error"], each["remedy"])))
            people.print(f"{each['name']}: {line}", markup=False, soft_wrap=True)
    people.print(f"Kafka    {document['bootstrap']}, topics {document['topic_prefix']}*", markup=False, soft_wrap=True)
    if document["endpoint"]:
        people.print(f"metrics  {document['endpoint']}/metrics, /readyz", markup=False, soft_wrap=True)
    people.print(f"logs     {document['logs']}", markup=False, soft_wrap=True)
    if not document["running"]:
        left = ", ".join(document["left_running"]) or "nothing of it"
        say(f"the supervisor was killed; still running: {left}; `forebay up` takes over, `forebay down` ends it")


def _row(each: dict[str, Any], measured: bool) -> list[Any]:
    state = each["state"]
    if state == "ready" and not each.get("ready", True):
        state = "not ready"
    row = [
        each["name"], state, _text(each["pid"]), each["restarts"], _duration(each["up_s"]),
        _count(each.get("rows_in")), _count(each.get("rows_out")), _count(each.get("rejected")),
        _lag(each), _mib(each["rss_bytes"]), _mib(each["pss_bytes"]),
    ]  # fmt: skip
    return [*row, _percent(each["cpu_percent"])] if measured else row


def _text(value: object) -> str:
    return "" if value is None else str(value)


def _count(value: int | None) -> str:
    return "" if value is None else f"{value:,}"


def _lag(each: dict[str, Any]) -> str:
    lag_s = each.get("lag_s")
    return "" if lag_s is None else f"{lag_s:.1f} s"


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return ""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _mib(size: int | None) -> str:
    return "" if size is None else f"{size / 2**20:,.0f}"


def _percent(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"
