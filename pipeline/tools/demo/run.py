"""The demo from end to end: the system of `forebay up`, traffic, live view, report. It ends what it started."""

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
from rich.console import Console

from loadtest.plants.westermo import traffic
from pipeline.archive.upkeep.verify import account, verify
from pipeline.contracts.incident_joining import joined
from pipeline.errors import Failed
from pipeline.runtime.shutdown import Stop
from pipeline.settings import Settings, load_settings
from pipeline.tools.alerts.changes import IncidentChanges
from pipeline.tools.alerts.incidents import INCIDENT, documents
from pipeline.tools.demo.assess import EVENT_SPAN_US, assess, traffic_file
from pipeline.tools.demo.explore import next_commands, offline_commands, write_settings
from pipeline.tools.demo.live import Picture, View
from pipeline.tools.demo.printout import show, show_incidents
from pipeline.tools.demo.watch import SeenAlert, Watch
from pipeline.tools.processes import STAGES, Processes, StartedProcess, worker_environment
from pipeline.tools.system import control
from pipeline.tools.system.record import SystemRecord
from pipeline.tools.system.supervise import Request

DRAIN_TIMEOUT_S = 60.0
COUNT_EVERY_S = 1.0
"""How often it is counted what was sent, scored and archived, and shown."""


class Interrupted(Exception):
    """Ctrl-C: stop everything, report nothing."""


@dataclass(frozen=True, slots=True)
class Options:
    """What the user chose."""

    folder: Path
    speed: float
    bootstrap: str | None
    keep: bool
    """Leave it running afterwards, to be explored."""


@contextmanager
def system(options: Options, settings: Settings, view: View, stop: Stop) -> Iterator[SystemRecord]:
    """Kafka, topics and stages of the run, ready: ended with it, by any end, unless it is to be explored."""
    data = options.folder / "broker"
    request = Request(
        options.folder,
        broker_data=data if options.bootstrap is None else None,
        broker_port=0,
        follows_parent=not options.keep,
    )
    view.phase("starting Kafka and the stages: " + ", ".join(STAGES))
    supervisor = control.launch(request, settings)
    finished = False
    try:
        started = control.wait_settled(supervisor, request, lambda _system: None, lambda: not stop.requested)
        if started is None:
            raise Interrupted
        yield started
        finished = True
    finally:
        if not (options.keep and finished):
            control.stop(options.folder)
            supervisor.wait()
            shutil.rmtree(data, ignore_errors=True)


def settings_for(options: Options) -> Settings:
    """Settings of this run alone: its own topic prefix and folders."""
    return load_settings(
        bootstrap=options.bootstrap,
        topic_prefix=f"demo-{options.folder.name}.",
        state_uri=options.folder / "state",
        archive_uri=options.folder / "archive",
        registry_uri=options.folder / "models",
        samples_uri=options.folder / "samples",
        trace_file=options.folder / "traces.jsonl",
        run_folder=options.folder,
        metrics_port=0,
        triage_port=-1,
    )


def run(options: Options, console: Console) -> dict[str, Any]:
    """Run the demo; its final JSON document. Raises Interrupted on Ctrl-C, Failed where a worker fails."""
    started_s = time.monotonic()
    stop = Stop(second_leaves=False).listen()
    options.folder.mkdir(parents=True)
    logs = options.folder / "logs"
    logs.mkdir()
    with View(console) as view:
        view.phase(f"this run's files are in {options.folder}")
        sent = write_traffic(options.folder)
        settings = settings_for(options)
        with system(options, settings, view, stop) as started:
            settings = settings.model_copy(update={"bootstrap": started.bootstrap})
            processes = Processes(logs, worker_environment(settings))
            try:
                view.phase(
                    f"streaming {sum(sent.values()):,} records of two sensors at {options.speed:g} times real time"
                )
                senders = [start_sender(processes, options, sensor) for sensor in traffic.SENSORS]
                watch = Watch(settings)
                try:
                    follow(processes, senders, watch, view, settings, sum(sent.values()), started_s, stop)
                    verified = verify(settings.archive_uri, settings)
                finally:
                    watch.close()
            finally:
                processes.stop()
    document, findings, incidents = assess(options.folder, options.speed, watch, verified, sent, settings)
    document["elapsed_s"] = round(time.monotonic() - started_s, 1)
    show(console, document, findings, incidents)
    made = documents(alert.document for alert in watch.alerts.values())
    listed = [each for each in made if each["kind"] == INCIDENT]
    show_incidents(console, listed)
    if options.keep:
        lines = next_commands(write_settings(options.folder, settings), listed)
        console.print("\nIt runs on. To explore it:\n")
    else:
        sensor = traffic.SENSORS[-1]
        lines = offline_commands(traffic_file(options.folder, sensor), traffic.SITE, sensor, listed)
        console.print("\nTo go on:\n")
    document["next"] = lines
    for line in lines:
        console.print(f"    {line}", markup=False, soft_wrap=True)
    (options.folder / "report.json").write_bytes(orjson.dumps(document, option=orjson.OPT_INDENT_2))
    return document


def write_traffic(folder: Path) -> dict[str, int]:
    """The records after the cut, a CSV per sensor; how many each has."""
    (folder / "traffic").mkdir()
    return {sensor: traffic.write_after_cut(sensor, traffic_file(folder, sensor)) for sensor in traffic.SENSORS}


def start_sender(processes: Processes, options: Options, sensor: str) -> StartedProcess:
    """Stream one sensor; all senders share the cut as their origin, so they stay aligned."""
    speed = "max" if options.speed <= 0 else f"{options.speed:g}"
    return processes.start(
        f"send-{sensor}",
        *("flow", "send", str(traffic_file(options.folder, sensor)), "--site", traffic.SITE, "--sensor", sensor),
        *("--speed", speed, "--start-at-us", str(traffic.CUT_US)),
    )


def follow(
    processes: Processes,
    senders: list[StartedProcess],
    watch: Watch,
    view: View,
    settings: Settings,
    expected: int,
    started_s: float,
    stop: Stop,
) -> None:
    """Watch until every record is in the archive's closed files and the incidents are closed."""
    streamed_s: float | None = None
    archived = rejected = 0
    next_count_s = 0.0
    changes = IncidentChanges()
    while True:
        if stop.requested:
            raise Interrupted
        processes.check()
        announce(view, changes, watch.poll(0.1))
        now_s = time.monotonic()
        if streamed_s is None and all(sender.process.poll() is not None for sender in senders):
            streamed_s = now_s
        if now_s >= next_count_s:
            require_running(settings.run_folder)
            next_count_s = now_s + COUNT_EVERY_S
            books = account(settings.archive_uri)
            rejected = sum(row["rejected"] for row in books)
            archived = sum(row["accepted"] + row["late"] for row in books) + rejected
            # Asked after what is scored by now: of that nothing is more than was sent.
            sent = min(expected, watch.raw_messages())
            view.show(picture(watch, streamed_s is None, now_s - started_s, sent, archived))
        if streamed_s is not None:
            if archived >= expected and watch.rows >= expected - rejected and watch.alerts_complete():
                while not watch.idle:
                    announce(view, changes, watch.poll(0.3))
                return
            if now_s - streamed_s > DRAIN_TIMEOUT_S:
                alerts = "complete" if watch.alerts_complete() else "incomplete"
                raise Failed(
                    f"{archived} of {expected} records archived and alerts {alerts} {DRAIN_TIMEOUT_S:.0f} s after the "
                    f"last was sent; the workers' logs are in {processes.logs}"
                )


def picture(watch: Watch, streaming: bool, elapsed_s: float, sent: int, archived: int) -> Picture:
    """The figures of now, of what has been seen until now."""
    # Some traffic follows the last event.
    event_minutes = min(max(0, watch.event_time_us - traffic.CUT_US), EVENT_SPAN_US) / 60e6
    return Picture(
        phase="streaming" if streaming else "draining",
        elapsed_s=elapsed_s,
        event_minutes=event_minutes,
        total_minutes=EVENT_SPAN_US / 60e6,
        sent=sent,
        scored=watch.rows,
        suspects=sum(sensor.suspects for sensor in watch.sensors.values()),
        incidents=sum(not each.is_notice for each in joined(alert.document for alert in watch.alerts.values())),
        lag=max(0, sent - watch.rows),
        archived=archived,
    )


def require_running(folder: Path) -> None:
    """Failed where the system has ended, or a stage will not start again."""
    now = control.running(folder)
    if now is None:
        raise Failed(f"the stages' supervisor has ended; its log is in {folder / 'logs'}")
    if now.failed:
        raise Failed(control.describe_failed(now.failed))


def announce(view: View, changes: IncidentChanges, alerts: list[SeenAlert]) -> None:
    """Show the incidents that have just opened. What another sensor sees of one is none."""
    for _, document in changes.add([alert.document for alert in alerts]):
        view.alert(
            (document["first_us"] - traffic.CUT_US) / 60e6,
            document["severity"],
            "+".join(document["sensors"]),
            document["says"],
            [technique["uid"] for technique in document["techniques"]],
        )


def folder_name() -> str:
    """A name no other run has."""
    return datetime.now(UTC).strftime("%Y%m%d-%H%M%S-%f")[:-3]
