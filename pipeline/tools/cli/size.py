"""`forebay size`: what a plant needs, from measured figures."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.tools.cli.output import Json, emit, people
from pipeline.tools.cli.time_spans import SPANS, seconds

if TYPE_CHECKING:
    from pipeline.tools.load.disk import Place
    from pipeline.tools.load.flood import Flood, Flooded
    from pipeline.tools.load.size import Sizing, Wanted

app = typer.Typer(add_completion=False, help="Cores, memory, disk and partitions for a plant, from measured figures.")

MAX_DAYS = 36_525
LEFT_OUT = "the page and outputs; the system, its page cache and free room on disks"
CALM = "; floods (--flood): the flows are a calm plant's"


@app.command()
def size(
    flows: Annotated[str, typer.Option(help="Flow records a second, all sensors together: 5000/s or 5000.")],
    sensors: Annotated[int, typer.Option(min=1, max=1_000_000, help="How many sensors send them.")] = 1,
    keep: Annotated[str, typer.Option(help="For how long the archive is retained, as in 90d.")] = "90d",
    replicas: Annotated[int, typer.Option(min=1, max=5, help="Replicas of Kafka's topics.")] = 1,
    flood: Annotated[
        str,
        typer.Option(help="A flood beside them, in which every row is a suspect: 20000/s, all sensors together."),
    ] = "",
    flood_lasts: Annotated[str, typer.Option(help="For how long it comes, as in 1h.")] = "1h",
    as_json: Json = False,
) -> None:
    """Reckon cores, memory, disk and partitions; say which figures it rests on, and what of it is a projection.

    With a flood it says as well whether a box of that size keeps up, how far it falls behind, and what the flood adds.

    Examples: forebay size --flows 5000/s --sensors 40 --keep 90d; forebay size --flows 5000/s --flood 50000/s
    """
    from pipeline.settings import load_settings
    from pipeline.tools.load import disk as disks
    from pipeline.tools.load import flood as floods
    from pipeline.tools.load import size as sizes
    from schemas.topics import topics

    wanted = sizes.Wanted(_per_second("--flows", flows), sensors, _span("--keep", keep) / sizes.DAY_S, replicas)
    comes = floods.Flood(_per_second("--flood", flood), _span("--flood-lasts", flood_lasts)) if flood else None
    figures, settings = sizes.measured(), load_settings()
    days = {name: topics()[name].retention_ms / 1000 / sizes.DAY_S for name in disks.KAFKA_TOPICS}
    bounds = sizes.Bounds(days, settings.state_kept + 1, settings.samples_rows)
    sizing = sizes.size(wanted, figures, settings.max_sensors)
    places = disks.disk(wanted, sizing.partitions, figures, bounds)
    taken = floods.flooded(wanted, comes, sizing, figures, bounds) if comes is not None else None
    not_known = [*disks.UNKNOWN, *(floods.UNKNOWN if taken is not None else ())]
    if not as_json:
        lines = [*_lines(wanted, sizing), *_disk_lines(places)]
        lines += _flood_lines(comes, taken, sizing) if comes is not None and taken is not None else []
        lines += [f"too much: {said}" for said in sizing.too_much]
        lines += [f"projection: {said}" for said in sizing.projected]
        lines += [f"not known: {said}" for said in not_known]
        lines += [f"left out: {LEFT_OUT}{CALM if taken is None else ''}"]
        lines += dict.fromkeys(_measured_by(run) for run in figures.values())
        people.print("\n".join(lines), markup=False, soft_wrap=True)
    emit(
        {
            "flows_per_s": wanted.flows_per_s,
            "sensors": sensors,
            "retention_days": wanted.retention_days,
            "replicas": replicas,
            **sizing.document(),
            "disk_bytes": {name: place.bytes for name, place in places.items()},
            "disk_bytes_in_all": sum(place.bytes for place in places.values()),
            "flood": _flood_document(comes, taken) if comes is not None and taken is not None else None,
            "not_known": not_known,
            "kafka_days": days,
            "measured": figures,
        }
    )


def _lines(wanted: "Wanted", sizing: "Sizing") -> list[str]:
    """Cores, memory and partitions, and what each stage needs of them."""
    from pipeline.tools.load.size import BROKER

    return [
        f"{_rate(wanted.flows_per_s)} flows/s of {wanted.sensors:,} sensor{'s' * (wanted.sensors > 1)}, archive for "
        f"{wanted.retention_days:g} days",
        f"cores       {sizing.cores:,} (half busy: {sum(each.cores for each in sizing.stages.values()):,.2f} used)",
        f"memory      {sizing.memory_mib / 1024:.1f} GiB",
        f"partitions  {sizing.partitions} (FOREBAY_PARTITIONS)",
        *(
            f"{name:11} {each.workers} {'broker' if name == BROKER else 'worker'}{'s' * (each.workers > 1)}, "
            f"{each.cores:,.2f} cores used, "
            f"{each.memory_mib:,} MiB"
            for name, each in sizing.stages.items()
        ),
    ]


def _disk_lines(places: Mapping[str, "Place"]) -> list[str]:
    """What lies where, and the sum."""
    return [
        f"disk        {_bytes(sum(place.bytes for place in places.values()))} in all",
        *(f"  {name:15} {_bytes(place.bytes):>9}  {place.why}" for name, place in places.items()),
    ]


def _flood_lines(flood: "Flood", taken: "Flooded", sizing: "Sizing") -> list[str]:
    """Whether the box keeps up with it, and what it adds."""
    used, added = sum(taken.cores.values()), taken.disk_bytes
    busiest = max((name for name in taken.cores if sizing.stages[name].workers == 1), key=taken.cores.__getitem__)
    if not taken.behind:
        keeps = f"{used:,.2f} of {sizing.cores:,} used: it keeps up; busiest {busiest}, {taken.cores[busiest]:.2f}"
    else:
        caught_up = f"{_time(taken.caught_up_s)} after it" if taken.caught_up_s is not None else "never"
        keeps = (
            f"{used:,.2f} wanted, {sizing.cores:,} there: {_rate(taken.carried_per_s)} records/s are worked off, "
            f"{taken.behind:,} wait in Kafka at its end, and it has caught up {caught_up}"
        )
    return [
        f"flood       {_rate(flood.suspects_per_s)} suspects/s for {_time(flood.lasts_s)} beside them: "
        f"{flood.rows:,} rows",
        f"  cores     {keeps}",
        f"  memory    {taken.memory_mib / 1024:.1f} GiB",
        f"  disk      {_bytes(sum(added.values()))} more: "
        f"{', '.join(f'{name} {_bytes(size)}' for name, size in added.items())}",
    ]


def _flood_document(flood: "Flood", taken: "Flooded") -> dict[str, Any]:
    return {"suspects_per_s": flood.suspects_per_s, "lasts_s": flood.lasts_s, "rows": flood.rows, **taken.document()}


def _per_second(option: str, text: str) -> float:
    """`5000/s` or `5000`; BadParameter says what was expected."""
    number = text.strip().removesuffix("/s")
    try:
        rate = float(number)
    except ValueError:
        rate = -1.0
    if not 0 < rate <= 1e9:
        raise typer.BadParameter(f"{option}: got {text[:40]!r}, expected a number above 0, as in 5000/s")
    return rate


def _measured_by(run: dict[str, Any]) -> str:
    """Where figures are from, and what else ran there."""
    from pipeline.tools.load.machine import said_load

    where = f"{run['machine']}, {run['date']}, version {run['version']}{said_load(run['load_before'])}"
    return f"measured by `{run['command']}`, {where}"


def _rate(flows_per_s: float) -> str:
    return f"{flows_per_s:,.0f}" if flows_per_s >= 100 else f"{flows_per_s:g}"


def _span(option: str, text: str) -> float:
    """Seconds of `90d`; BadParameter says what was expected."""
    if text[-1:] not in SPANS:
        raise typer.BadParameter(f"{option}: got {text[:40]!r}, expected a number and a unit, s, m, h or d, as in 90d")
    span = seconds(text)
    if span > MAX_DAYS * SPANS["d"]:
        raise typer.BadParameter(f"{option}: got {text[:40]!r}, expected {MAX_DAYS:,}d at most")
    return span


def _time(span_s: float) -> str:
    """A span of time in its largest unit."""
    unit = next((unit for unit, size in reversed(SPANS.items()) if span_s >= size), "s")
    return f"{span_s / SPANS[unit]:.3g} {unit}"


def _bytes(count: int) -> str:
    amount, unit = float(count), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if amount >= 1000:
            amount, unit = amount / 1000, larger
    return f"{amount:,.1f} {unit}"
