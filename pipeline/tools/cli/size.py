"""`forebay size`: what a plant needs, from measured figures."""

from typing import Annotated, Any

import typer

from pipeline.tools.cli.output import Json, emit, people
from pipeline.tools.cli.time_spans import SPANS, seconds

app = typer.Typer(add_completion=False, help="Cores, memory, disk and partitions for a plant, from measured figures.")

MAX_DAYS = 36_525
LEFT_OUT = (
    "the page and outputs; the system, its page cache and free room on disks; states, models and samples; floods: the "
    "flows are a calm plant's"
)


@app.command()
def size(
    flows: Annotated[str, typer.Option(help="Flow records a second, all sensors together: 5000/s or 5000.")],
    sensors: Annotated[int, typer.Option(min=1, max=1_000_000, help="How many sensors send them.")] = 1,
    keep: Annotated[str, typer.Option(help="For how long the archive is retained, as in 90d.")] = "90d",
    replicas: Annotated[int, typer.Option(min=1, max=5, help="Replicas of Kafka's topics.")] = 1,
    as_json: Json = False,
) -> None:
    """Reckon cores, memory, disk and partitions; say which figures it rests on, and what of it is a projection.

    Example: forebay size --flows 5000/s --sensors 40 --keep 90d
    """
    from pipeline.settings import load_settings
    from pipeline.tools.load import size as sizes
    from schemas.topics import topics

    wanted = sizes.Wanted(_per_second(flows), sensors, _days(keep), replicas)
    figures = sizes.measured()
    days = {name: topics()[name].retention_ms / 1000 / sizes.DAY_S for name in sizes.KAFKA_TOPICS}
    sizing = sizes.size(wanted, figures, days, load_settings().max_sensors)
    lines = [
        f"{_rate(wanted.flows_per_s)} flows/s of {sensors:,} sensor{'s' * (sensors > 1)}, archive for "
        f"{wanted.retention_days:g} days",
        f"cores       {sizing.cores:,} (half busy: {sum(each.cores for each in sizing.stages.values()):,.2f} used)",
        f"memory      {sizing.memory_mib / 1024:.1f} GiB",
        f"archive     {_bytes(sizing.archive_bytes)}",
        f"Kafka       {_bytes(sizing.kafka_bytes)}, for as long as its topics are retained, whatever --keep says "
        f"(days: {', '.join(f'{name} {span:g}' for name, span in days.items())})",
        f"partitions  {sizing.partitions} (FOREBAY_PARTITIONS)",
        *(
            f"{name:11} {each.workers} {'broker' if name == sizes.BROKER else 'worker'}{'s' * (each.workers > 1)}, "
            f"{each.cores:,.2f} cores used, "
            f"{each.memory_mib:,} MiB"
            for name, each in sizing.stages.items()
        ),
        *(f"too much: {said}" for said in sizing.too_much),
        *(f"projection: {said}" for said in sizing.projected),
        f"left out: {LEFT_OUT}",
        *(_measured_by(figures[run]) for run in ("rates", "full_batches", "sensors")),
    ]
    if not as_json:
        people.print("\n".join(lines), markup=False, soft_wrap=True)
    emit(
        {
            "flows_per_s": wanted.flows_per_s,
            "sensors": sensors,
            "retention_days": wanted.retention_days,
            "replicas": replicas,
            **sizing.document(),
            "kafka_days": days,
            "measured": figures,
        }
    )


def _per_second(text: str) -> float:
    """`5000/s` or `5000`; BadParameter says what was expected."""
    number = text.strip().removesuffix("/s")
    try:
        rate = float(number)
    except ValueError:
        rate = -1.0
    if not 0 < rate <= 1e9:
        raise typer.BadParameter(f"--flows: got {text[:40]!r}, expected a number above 0, as in 5000/s")
    return rate


def _measured_by(run: dict[str, Any]) -> str:
    """Where figures are from, and what else ran there."""
    from pipeline.tools.load.machine import other_work

    where = f"{run['machine']}, {run['date']}, version {run['version']}{other_work(run['load_before'])}"
    return f"measured by `{run['command']}`, {where}"


def _rate(flows_per_s: float) -> str:
    return f"{flows_per_s:,.0f}" if flows_per_s >= 100 else f"{flows_per_s:g}"


def _days(text: str) -> float:
    if text[-1:] not in SPANS:
        raise typer.BadParameter(f"--keep: got {text[:40]!r}, expected a number and a unit, s, m, h or d, as in 90d")
    days = seconds(text) / 86_400
    if days > MAX_DAYS:
        raise typer.BadParameter(f"--keep: got {text[:40]!r}, expected {MAX_DAYS:,}d at most")
    return days


def _bytes(count: int) -> str:
    amount, unit = float(count), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if amount >= 1000:
            amount, unit = amount / 1000, larger
    return f"{amount:,.1f} {unit}"
