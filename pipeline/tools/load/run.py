"""One run of a load against a running system: the schedule, the sender, the watcher, and their report."""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from loadtest.workload.finished import Finished
from loadtest.workload.objectives import Objective
from loadtest.workload.pictures import Chart, picture
from loadtest.workload.report import FEW_RECORDS, SHORTEST_US, curves_of, lag_of, markdown, report_of
from loadtest.workload.scenario import LoadScenario
from loadtest.workload.schedule import schedule_of
from loadtest.workload.sender import ready, run_load
from loadtest.workload.streams import Tapes, speed_for, streams_of
from loadtest.workload.watcher import FEATURES, WATCHED, Watcher, Watching
from pipeline.errors import Failed
from pipeline.runtime.kafka import clients
from pipeline.settings import Settings
from pipeline.tools.load.machine import machine
from pipeline.tools.load.resources import OtherWork, Resources
from schemas.learning import Learning

START_S = 0.5
"""From the schedule until its first record is due: the first slices are made meanwhile."""


@dataclass(frozen=True, slots=True)
class LoadRequest:
    """What is asked of a run.

    rate: records a second, the mean of the run, attacks included; hops: whether the topics between are read, too.
    """

    scenario: LoadScenario
    rate: float
    duration_s: float
    warm_up_s: float = 0.0
    drain_s: float = 60.0
    seed: int = 0
    pack: int = 1
    hops: bool = False

    @property
    def duration_us(self) -> int:
        """How long records are due."""
        return round(self.duration_s * 1e6)


@dataclass(frozen=True, slots=True)
class LoadResult:
    """A run's report, and what pictures are made of."""

    report: dict[str, Any]
    run: Finished


@dataclass(frozen=True, slots=True)
class Target:
    """The system under load; pids: its processes by name, as far as they run on this machine and are known.

    learning: how long its sensors learn, where that was set for the run.
    """

    settings: Settings
    pids: Mapping[str, int]
    learning: Learning | None = None


def speed_of(request: LoadRequest, tapes: list[Tapes]) -> float:
    """How many times as fast as the clock event time runs."""
    records = max(1, round(request.rate * request.duration_s))
    return speed_for(request.scenario, tapes, records, request.duration_us, request.seed)


def measure(
    target: Target,
    request: LoadRequest,
    tapes: list[Tapes],
    objectives: Sequence[Objective],
    stopped: Callable[[], bool] = lambda: False,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> LoadResult:
    """Send a load and watch what comes of it. progress: acknowledged records, and how many are wanted."""
    speed = speed_of(request, tapes)
    scenario, sensors = request.scenario, len(request.scenario.sensor_names)
    streams = streams_of(scenario, tapes, round(request.duration_us * speed), request.seed)
    connection = clients.connection(target.settings, "load")
    topics = {
        kind: f"{target.settings.topic_prefix}{kind}" for kind in (*WATCHED, *((FEATURES,) if request.hops else ()))
    }
    warm_up_us = round(request.warm_up_s * 1e6)
    resources, here = Resources(target.pids), machine()
    wanted = round(request.rate * request.duration_s)
    acknowledged: list[tuple[int, int]] = []

    def taken(records: int) -> None:
        acknowledged.append((time.time_ns() // 1000, records))
        progress(records, wanted)

    group = f"{target.settings.topic_prefix}alert"
    ready(streams, request.pack)
    watcher = Watcher(Watching(scenario, streams, warm_up_us, connection, topics, group, request.drain_s))
    try:
        start_us = time.time_ns() // 1000 + round(START_S * 1e6)
        schedule = schedule_of(start_us, request.duration_us, speed, scenario.outage, sensors)
        watcher.begin(schedule)
        others = OtherWork((*target.pids.values(), os.getpid(), watcher.pid))
        resources.start()
        sent = run_load(
            scenario, streams, schedule, target.settings.topics.raw, connection, request.pack, stopped, taken
        )
        seen = watcher.seen(sent.records if sent.finished else None)
        other_cores = others.cores() if target.pids else None
    except RuntimeError as error:
        raise Failed(str(error)) from error
    finally:
        watcher.stop()
    if sent.refused:
        raise Failed(
            f"{target.settings.topics.raw} at {target.settings.bootstrap}: got {sent.refused} after {sent.records} "
            "records, expected all to be taken; look at the broker, or at --pack where messages are too large"
        )
    learning = target.learning
    learning_s = None if learning is None else (learning.least_s, learning.most_s)
    run = Finished(scenario, streams, schedule, sent, seen, acknowledged, warm_up_us, learning_s)
    counted = sent.records if run.ran_us >= SHORTEST_US and sent.records >= FEW_RECORDS else 0
    report = {
        **report_of(run, objectives, resources.stop(counted)),
        "machine": here,
        "other_work_cores": None if other_cores is None else round(other_cores, 2),
        "pack": request.pack,
    }
    return LoadResult(report, run)


def write_reports(result: LoadResult, folder: Path) -> dict[str, str]:
    """Write report.json, report.md, report.svg and a latency distribution for each topic; their paths by name."""
    folder.mkdir(parents=True, exist_ok=True)
    latencies = result.run.seen.latencies
    texts = {
        "report.json": orjson.dumps(result.report, option=orjson.OPT_INDENT_2).decode() + "\n",
        "report.md": markdown(result.report),
        "report.svg": drawn(result.run),
        **{f"{kind}.hgrm": latency.hgrm() for kind, latency in latencies.items() if latency.count},
    }
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    return {name: str(folder / name) for name in texts}


def drawn(run: Finished) -> str:
    """Records over time, lag over time, and latency by percentile, as SVG."""
    lag, start_us = lag_of(run), run.schedule.start_us
    over_time = {
        "taken by Kafka": [((at - start_us) / 1e6, float(records)) for at, records in run.acknowledged],
        "out": [((at - start_us) / 1e6, float(records)) for at, records in run.seen.series],
    }
    behind = list(zip(lag.times_s, map(float, lag.records), strict=True))
    return picture(
        [
            Chart(f"{run.scenario.name}: records", "seconds", "records", over_time),
            Chart("lag", "seconds", "records", {"lag": behind}),
            Chart(
                "intended send time until",
                "nines: 1 is p90, 2 p99, 3 p99.9",
                "ms",
                curves_of(run.seen.latencies),
                log_y=True,
            ),
        ]
    )
