"""The workers of one box: a row each. What is to run beside them is one more row."""

from dataclasses import dataclass, replace
from pathlib import Path

from pipeline.runtime.telemetry.telemetry import PORTS
from pipeline.settings import Settings
from pipeline.tools.processes import STAGES
from pipeline.tools.system.record import PAGE
from pipeline.tools.triage import packages

CLI_MODULE = "pipeline.tools.cli"
PORT = "{port}"
"""Among a row's arguments: the port that was chosen for it."""
# torch writes to a quarter of a gigabyte when it is imported: only who needs it has it.
IMPORT_TORCH = ("score",)


@dataclass(frozen=True, slots=True)
class WorkerRow:
    """A worker: what runs it, where it answers, and what it imports."""

    name: str
    arguments: tuple[str, ...]
    port: int
    """Where it serves its metrics if nobody else listens there; else it gets a free one."""
    imports: tuple[str, ...] = ()
    """Modules imported once, before workers are forked, so that all of them share their memory."""
    module: str = CLI_MODULE
    """Run as `python -m MODULE ARGUMENTS` ..."""
    main_module: str = f"{CLI_MODULE}.main"
    """... or, in a forked process, by this module's `main()`."""
    ready_path: str = "/readyz"
    is_stage: bool = True
    """Whether it takes part in the flow: it has rows, lag and a share in `/metrics`."""
    host: str = ""
    """Where it listens; empty: where a setting says (FOREBAY_METRICS_HOST)."""

    def at_port(self, port: int) -> "WorkerRow":
        """The same, at another port than its usual one."""
        return replace(self, port=port, arguments=tuple(str(port) if each == PORT else each for each in self.arguments))


def stage_row(stage: str) -> WorkerRow:
    """The row of a stage."""
    imports = () if stage in IMPORT_TORCH else (f"pipeline.{stage}.worker",)
    return WorkerRow(stage, (stage, "run"), PORTS[stage], imports)


WORKERS = tuple(stage_row(stage) for stage in STAGES)
INTAKE = WorkerRow("intake", ("intake", "run"), PORTS["intake"], ("pipeline.ingest.intake.worker",))
# A follower on its own serves no metrics unless a setting says so: hence no port among PORTS.
FOLLOW = WorkerRow("follow", ("flow", "follow"), 9478, ("pipeline.ingest.follow.worker",))
OUTPUT = WorkerRow("output", ("output", "run"), PORTS["output"], ("pipeline.tools.outputs.worker",))


def rows_for(settings: Settings) -> tuple[WorkerRow, ...]:
    """The workers that a box with these settings needs."""
    before = (*((FOLLOW,) if settings.file_sources else ()), *((INTAKE,) if settings.topic_sources else ()))
    page = (page_row(settings),) if _wants_page(settings) and not packages.missing() else ()
    return (*before, *WORKERS, *((OUTPUT,) if settings.outputs else ()), *page)


# The page has no accounts at first: whoever reaches it may judge. So it listens on loopback, whatever others do.
PAGE_HOST = "127.0.0.1"


def page_row(settings: Settings) -> WorkerRow:
    """The row of the page's server."""
    arguments = (
        "triage",
        "serve",
        "--host",
        PAGE_HOST,
        "--port",
        PORT,
        "--data",
        str(page_folder(settings.run_folder)),
    )
    return WorkerRow(PAGE, arguments, settings.triage_port, is_stage=False, host=PAGE_HOST)


def page_folder(run_folder: Path) -> Path:
    """Where the page keeps its store, beside the run's folder: `var/triage` for `var/run`, else with a name of its own.

    Two systems whose folders lie side by side have two stores: each follows its own topics.
    """
    return run_folder.with_name(PAGE if run_folder.name == "run" else f"{run_folder.name}-{PAGE}")


def page_hint(settings: Settings) -> str:
    """How to get the page, where it is wanted and its packages are not here; else nothing."""
    lacking = packages.missing() if _wants_page(settings) else ()
    if not lacking:
        return ""
    remedy = f"in the checkout: {packages.INSTALL}, then `forebay down` and `forebay up`"
    return f"not installed ({lacking[0]} is missing); {remedy}"


def _wants_page(settings: Settings) -> bool:
    return settings.triage_port != -1


# The box's own endpoint is supervised as the stages are: the supervisor itself has one thread and answers nobody.
ENDPOINT_PORT = 9470
ENDPOINT_NAME = "endpoint"
ENDPOINT_MODULE = "pipeline.tools.system.endpoint"


def endpoint_row(run_folder: str, port: int, host: str) -> WorkerRow:
    """The row of the box's endpoint: one `/metrics` and one `/readyz` for all workers."""
    return WorkerRow(
        ENDPOINT_NAME,
        (run_folder, host, PORT),
        port,
        module=ENDPOINT_MODULE,
        main_module=ENDPOINT_MODULE,
        ready_path="/livez",
        is_stage=False,
    )
