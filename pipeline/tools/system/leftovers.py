"""What a supervisor that was killed has left: found by pid and start, ended, and said. Never another's process."""

import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pipeline.tools.broker import local
from pipeline.tools.broker import state as broker_state
from pipeline.tools.system import record
from pipeline.tools.system.identity import is_alive, send_signal
from pipeline.tools.system.record import SystemRecord, WorkerRecord

# A worker is asked to stop by the kernel when its supervisor dies; so long it may take to save and leave.
LEAVES_WITHIN_S = 10.0
KILLED_WITHIN_S = 5.0
POLL_S = 0.05


@dataclass(frozen=True, slots=True)
class Leftovers:
    """What still runs of a system whose supervisor is gone."""

    workers: tuple[WorkerRecord, ...]
    broker: broker_state.Running | None
    """Its Kafka, where that system started it."""


def find(system: SystemRecord) -> Leftovers:
    """What of the record still runs."""
    workers = tuple(worker for worker in system.workers if worker.process is not None and is_alive(worker.process))
    broker = None
    if system.broker is not None and system.broker.is_ours:
        broker = local.process_of(Path(system.broker.data))
    return Leftovers(workers, broker)


def end_workers(system: SystemRecord, leave_s: float = LEAVES_WITHIN_S) -> list[str]:
    """End the workers of a system whose supervisor is gone; the names of those that still ran."""
    left = [worker for worker in find(system).workers if worker.process is not None]
    names = [worker.name for worker in left]
    for number, within_s in ((signal.SIGTERM, leave_s), (signal.SIGKILL, KILLED_WITHIN_S)):
        for worker in left:
            if worker.process is not None:
                send_signal(worker.process, number)
        deadline = time.monotonic() + within_s
        while left and time.monotonic() < deadline:
            left = [worker for worker in left if worker.process is not None and is_alive(worker.process)]
            time.sleep(POLL_S if left else 0.0)
    return names


def take_over(folder: Path, say: Callable[..., None]) -> SystemRecord | None:
    """Clear the folder of a system whose supervisor was killed, and give its record; its Kafka is left as it runs.

    Called by the one who holds the folder's lock: whoever wrote the record is dead.
    """
    system = record.read(folder)
    if system is None:
        return None
    names = end_workers(system)
    say(
        "the last supervisor was killed; taking over",
        supervisor=system.supervisor.pid,
        workers_ended=", ".join(names) or "none was left",
    )
    return system
