"""`forebay status`: how a system on this machine does."""

from typing import Annotated, Any

import typer

from pipeline.settings import load_settings
from pipeline.tools.cli.output import Json, emit, people, say
from pipeline.tools.cli.up import RunFolder

app = typer.Typer(
    add_completion=False, help="How the system of `forebay up` does: workers, Kafka, memory, last errors."
)

COLUMNS = ["", "state", "pid", "restarts", "up", "rows in", "rows out", "lag", "PSS MiB", "CPU %"]


@app.command()
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
    from pipeline.tools.sensors.wait_words import by_settings_words, short_words
    from pipeline.tools.sensors.waits import waits
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
    found = waits(load_settings(**system.chosen))
    if not as_json:
        _show(document, short_words(found), by_settings_words(found))
    emit({**document, "waits": [each.document() for each in found]})
    if not document["ready"]:
        raise typer.Exit(1)


def _show(document: dict[str, Any], waiting: str = "", by_settings: str = "") -> None:
    processes = [document["supervisor"], *document["workers"]]
    if document["broker"]:
        processes.append({**document["broker"], "name": "Kafka"})
    measured = document["cpu_percent"] is not None
    rows = [_row(each) for each in processes]
    rows.append(["sum", *[""] * 7, _mib(document["pss_bytes"]), _percent(document["cpu_percent"])])
    for line in _aligned([COLUMNS, *rows], len(COLUMNS) - (not measured)):
        _line(line)
    for each in processes:
        if each["last_error"]:
            _line(f"{each['name']}: {'; '.join(filter(None, (each['last_error'], each['remedy'])))}")
    if document["sensors"]:
        phases = ", ".join(f"{count} {phase}" for phase, count in sorted(document["sensors"].items()))
        _line(f"sensors  {phases}, of those remembered now; forebay sensor list has all that ever sent")
    if waiting:
        words = f"flows for others, {waiting}, and so do their alerts and rows in the archive"
        _line(f"waiting  {'; '.join(filter(None, (words, by_settings)))}")
    _line(f"Kafka    {document['bootstrap']}, topics {document['topic_prefix']}*")
    if document["page"]:
        _line(f"the page: {document['page']}")
    if document["endpoint"]:
        _line(f"metrics  {document['endpoint']}/metrics, /readyz")
    _line(f"logs     {document['logs']}")
    if not document["running"]:
        left = ", ".join(document["left_running"]) or "nothing of it"
        _line(f"the supervisor was killed; still running: {left}; `forebay up` takes over, `forebay down` ends it")


def _line(text: str) -> None:
    people.print(text, markup=False, soft_wrap=True)


def _aligned(rows: list[list[str]], columns: int) -> list[str]:
    """The rows as lines: two columns of words, then figures to the right. Never wrapped: it is read by scripts too."""
    widths = [max(len(row[index]) for row in rows) for index in range(columns)]
    return [
        "  ".join(
            row[index].ljust(widths[index]) if index < 2 else row[index].rjust(widths[index])
            for index in range(columns)
        ).rstrip()
        for row in rows
    ]


def _row(each: dict[str, Any]) -> list[str]:
    state = each["state"]
    if state == "ready" and not each.get("ready", True):
        state = "not ready"
    return [
        each["name"],
        state,
        _text(each["pid"]),
        _text(each["restarts"]),
        _duration(each["up_s"]),
        _count(each.get("rows_in")),
        _count(each.get("rows_out")),
        _lag(each),
        _mib(each["pss_bytes"]),
        _percent(each["cpu_percent"]),
    ]


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
