"""`forebay model evaluate --protocol` and `forebay model report`: IGAN-IDS against its comparators."""

from __future__ import annotations

import importlib.util
import os
import platform
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import file_digest
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.errors import Usage
from pipeline.tools.cli.model_options import refusals
from pipeline.tools.cli.output import Json, emit, people, say

if TYPE_CHECKING:
    from models.lab.protocols.plan import Plan

NEEDED = ("sklearn", "lightgbm", "xgboost", "imblearn", "scipy", "matplotlib")


@dataclass(frozen=True, slots=True)
class Asked:
    """The options of `forebay model evaluate --protocol`."""

    protocol: str
    data: Path | None
    out: Path | None
    models: tuple[str, ...]
    seeds: int | None
    resume: bool
    jobs: int | None
    train: Path | None
    test: Path | None
    label: str | None
    normal: str | None
    drop: tuple[str, ...]


def evaluate_protocol(asked: Asked, quiet: bool) -> None:
    """Run a protocol, then print its results; exits 1 where a fit failed."""
    from models.lab.protocols.plans import PROTOCOLS, SEEDS
    from models.lab.protocols.store import Store
    from models.lab.report.results import results_of

    require_libraries()
    if asked.protocol not in PROTOCOLS:
        raise Usage(f"--protocol: got {asked.protocol}, expected one of {', '.join(PROTOCOLS)}")
    if asked.out is None:
        raise Usage("--out: a protocol stores every fit in a folder; name one, and resume it with --resume")
    with refusals():
        plan = plan_of(asked, asked.seeds or SEEDS[asked.protocol])
        remark(asked, plan, quiet)
        data = digests(asked)
        store = Store(asked.out)
        store.begin(
            {
                "protocol": asked.protocol,
                "command": command(),
                "date": datetime.now(UTC).date().isoformat(),
                "machine": machine(),
                "options": {"models": list(asked.models), "seeds": asked.seeds or SEEDS[asked.protocol]},
                "data": data,
                "expected": expected(plan),
            },
            asked.resume,
        )
        failures = carried_out(plan, store, asked.jobs or os.cpu_count() or 1, {**versions(), "data": data}, quiet)
        for failure in failures:
            say(f"failed: {failure}", quiet)
        say(f"fits in {asked.out}; tables and pictures: forebay model report {asked.out}", quiet)
        emit({"protocol": asked.protocol, "results": results_of(store.read()), "failed": failures})
    if failures:
        raise typer.Exit(1)


def plan_of(asked: Asked, seeds: int) -> Plan:
    """The protocol with its options; Usage where one is missing."""
    from models.lab.protocols.iiot import Iiot
    from models.lab.protocols.plans import families, nsl_kdd_plan

    if asked.protocol == "table":
        from models.lab.protocols.user_table import UserTable

        if asked.train is None or asked.test is None or not asked.label or not asked.normal:
            raise Usage("--protocol table: expected --train A --test B --label COL --normal VALUE [--drop COL ...]")
        return UserTable(asked.train, asked.test, asked.label, asked.normal, asked.drop, families(asked.models), seeds)
    if asked.data is None:
        raise Usage(f"--data: {asked.protocol} reads labelled data sets; name their folder")
    from pipeline.tools.cli.evaluation_tables import westermo

    if asked.protocol == "iiot":
        return Iiot(asked.data, families(asked.models), seeds, westermo)
    return nsl_kdd_plan(asked.protocol, asked.data, asked.models, seeds, westermo)


def remark(asked: Asked, plan: Plan, quiet: bool) -> None:
    """Say what of the data is left out, and how a table of the user's was read."""
    from models.lab.protocols.iiot import missing
    from models.lab.protocols.user_table import UserTable

    if asked.protocol == "iiot" and asked.data is not None and missing(asked.data):
        say(f"left out, not in {asked.data}: {', '.join(missing(asked.data))}", quiet)
    if isinstance(plan, UserTable):
        for note in plan.tables()[2]:
            say(f"note: {note}", quiet)


def expected(plan: Plan) -> dict[str, dict[str, int]]:
    """How many fits the plan has, by model and task: a report says how many of them it rests on."""
    counts: dict[str, dict[str, int]] = {}
    for unit in plan.units():
        tasks = counts.setdefault(unit.family.name, {})
        tasks[unit.task] = tasks.get(unit.task, 0) + 1
    return counts


def carried_out(plan: Plan, store: Any, jobs: int, about: dict[str, Any], quiet: bool) -> list[str]:
    """Run the plan with a progress line a fit; what failed."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    from models.lab.protocols.run import run

    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.description}"),
    )
    with Progress(*columns, console=people, disable=quiet) as bar:
        task = bar.add_task("starting", total=None)

        def progress(done: int, of: int, what: str, seconds: float) -> None:
            bar.update(task, completed=done, total=of, description=f"{what} ({seconds:.1f} s)")
            if not people.is_terminal:
                say(f"{done}/{of} {what} ({seconds:.1f} s)", quiet)

        return run(plan, store, jobs, about, progress)


def report(
    folder: Annotated[Path, typer.Argument(help="Folder of a protocol's fits.", metavar="DIR")],
    as_json: Json = False,
) -> None:
    """Make tables (Markdown, JSON) and pictures (PNG, SVG) from a protocol's stored fits, also of an unfinished run."""
    from models.lab.report.report import write

    require_libraries()
    with refusals():
        document = write(folder)
    say(f"{folder / 'report.md'}: {document['fits']} fits", as_json)
    emit(document)


def require_libraries() -> None:
    """Usage names the extra where the comparators' libraries are not installed."""
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise Usage(f"got no {', '.join(missing)}; install them, in the checkout: make setup")


def command() -> str:
    """What was run, with files and folders by their last names: others keep them elsewhere."""
    words = [Path(word).name if os.sep in word else word for word in sys.argv[1:]]
    return " ".join(["forebay", *words])


def machine() -> str:
    """Processor and cores, as the tables name them."""
    from models.training.fit import cpu_type

    return f"{os.cpu_count()} cores, {cpu_type()}, Python {platform.python_version()}"


def versions() -> dict[str, Any]:
    """What a fit depends on beside data and seed."""
    from importlib.metadata import version

    from models.training.fit import cpu_type

    names = ("forebay", "torch", "numpy", "scikit-learn", "lightgbm", "xgboost-cpu", "imbalanced-learn")
    return {"cpu": cpu_type(), "threads": 1, **{name: version(name) for name in names}}


def digests(asked: Asked) -> dict[str, str]:
    """SHA-256 of the files of records a protocol reads; Usage where there are none."""
    files: Sequence[Path] = [path for path in (asked.train, asked.test) if path is not None]
    if asked.protocol != "table" and asked.data is not None:
        files = sorted(path for kind in ("*.parquet", "*.labeled", "*.pcap") for path in asked.data.rglob(kind))
        if not files:
            raise Usage(f"--data {asked.data}: got no data set there, expected Parquet files, conn logs or captures")
    sha256 = {}
    for path in files:
        with path.open("rb") as file:
            sha256[path.name] = file_digest(file, "sha256").hexdigest()
    return sha256
