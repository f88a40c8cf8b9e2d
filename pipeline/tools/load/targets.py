"""The system a load is sent to: one of its own, started for it, or one that runs."""

import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.runtime.kafka import topics
from pipeline.settings import Settings, load_settings
from pipeline.tools.broker import local
from pipeline.tools.load.run import Target
from pipeline.tools.processes import STAGES, Processes, worker_environment
from pipeline.tools.system import record
from pipeline.tools.system.identity import is_alive
from schemas.learning import Learning

READY_S = 300.0


@contextmanager
def local_target(learning: Learning) -> Iterator[Target]:
    """A Kafka and the six stages in a folder of their own, ready; ended and removed afterwards.

    learning: for how long their sensors learn, in event time. Where a stage fails the folder stays, with its logs;
    where a person interrupts it, it is removed. Calibrations are not fitted to sensors: that takes seconds of a core
    once in a sensor's life, and all of these live for seconds.
    """
    has_failed, folder = False, Path(tempfile.mkdtemp(prefix="forebay-load-"))
    broker = local.start(folder / "broker")
    try:
        settings = load_settings(
            bootstrap=broker.bootstrap,
            topic_prefix=f"load-{uuid.uuid4().hex[:8]}.",
            state_uri=folder / "state",
            archive_uri=folder / "archive",
            registry_uri=folder / "models",
            samples_uri=folder / "samples",
            run_folder=folder / "run",
            learning=learning,
            fitted_calibrations="off",
            metrics_port=0,
        )
        topics.create(settings)
        (folder / "logs").mkdir()
        processes = Processes(folder / "logs", worker_environment(settings))
        try:
            started = [processes.start(stage, stage, "run") for stage in STAGES]
            processes.wait_ready(started, READY_S)
            pids = {"broker": broker.pid, **{each.name: each.process.pid for each in started}}
            yield Target(settings, pids, learning)
            processes.check()
        finally:
            processes.stop()
    except Exception:
        has_failed = True
        raise
    finally:
        local.stop(folder / "broker")
        if not has_failed:
            shutil.rmtree(folder)


def running_target(settings: Settings) -> Target:
    """The system where the settings point, with the processes of `forebay up` where it is the one that runs here."""
    system = record.read(settings.run_folder)
    if system is None or not is_alive(system.supervisor) or system.bootstrap != settings.bootstrap:
        return Target(settings, {})
    pids = {worker.name: worker.process.pid for worker in system.stages if worker.process is not None}
    broker = local.process_of(Path(system.broker.data)) if system.broker is not None else None
    return Target(settings, {**pids, **({"broker": broker.pid} if broker is not None else {})})


def learning_for(event_span_s: float) -> Learning:
    """A clock whose sensors have learnt after a third of a run, and show what is new from then on."""
    least = max(1, int(event_span_s / 4))
    most = max(least, int(event_span_s / 3))
    anchor = max(most, int(event_span_s * 0.4))
    shortest = int(min(max(event_span_s / 96, 1), 900))
    return Learning(least_s=least, most_s=most, anchor_s=anchor, admit_s=anchor, shortest_block_s=shortest)
