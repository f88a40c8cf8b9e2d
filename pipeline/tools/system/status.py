"""How a system does, for `forebay status`: read from its record, its workers' endpoints and /proc; changes nothing."""

import time
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pipeline.tools.broker import local
from pipeline.tools.system import leftovers, probes, record
from pipeline.tools.system.identity import Identity, Usage, is_alive, usage_of
from pipeline.tools.system.record import Phase, State, SystemRecord, WorkerRecord

ROWS_IN, ROWS_OUT, REJECTED = "forebay_rows_in_total", "forebay_rows_out_total", "forebay_rejected_total"
LAG_S, LAG_MESSAGES = "forebay_lag_seconds", "forebay_lag_messages"
SENSORS, NO_BASELINE = "forebay_baseline_sensors", "none"
ANSWERS = "answers"
COUNTED = (ROWS_IN, ROWS_OUT, REJECTED, LAG_S, LAG_MESSAGES)


@dataclass(frozen=True, slots=True)
class ProcessStatus:
    """A process of the system."""

    name: str
    state: str
    pid: int | None
    restarts: int
    up_s: float | None
    rss_bytes: int | None
    pss_bytes: int | None
    cpu_s: float | None
    cpu_percent: float | None
    """Of one core, over the time that was asked for; None where none was."""
    last_error: str
    remedy: str


@dataclass(frozen=True, slots=True)
class WorkerStatus(ProcessStatus):
    """A worker, with what it has counted since its start; None where it does not answer, or counts no such thing."""

    ready: bool
    port: int
    rows_in: int | None
    rows_out: int | None
    rejected: int | None
    lag_s: float | None
    lag_messages: int | None
    sensors: dict[str, int]
    """By the phase of their baselines, as far as this worker has any."""
    log: str


def document(system: SystemRecord, cpu_over_s: float = 0.0) -> dict[str, Any]:
    """Everything that is known of a system; with `cpu_over_s` its processor time is measured for so long."""
    alive = is_alive(system.supervisor)
    before = _cpu(system) if cpu_over_s > 0 else {}
    time.sleep(cpu_over_s)
    measured = _Measured(before, cpu_over_s)
    supervisor = _process("supervisor", system.phase if alive else "killed", system.supervisor, measured)
    workers = [_worker(each, system, measured) for each in system.workers]
    broker = _broker(system, measured)
    everything = [supervisor, *workers, *([broker[0]] if broker else [])]
    return {
        "running": alive,
        "ready": _is_ready(system, alive, workers, broker[0] if broker else None),
        "phase": system.phase if alive else "killed",
        "folder": system.folder,
        "logs": str(Path(system.folder) / record.LOGS),
        "bootstrap": system.bootstrap,
        "topic_prefix": system.topic_prefix,
        "endpoint": f"http://{system.host}:{system.endpoint_port}" if system.endpoint_port else None,
        "page": system.page if alive else None,
        "started_us": system.started_us,
        "supervisor": asdict(supervisor),
        "workers": [asdict(worker) for worker in workers],
        "sensors": dict(sum((Counter(worker.sensors) for worker in workers), Counter())),
        "broker": {**asdict(broker[0]), **broker[1]} if broker else None,
        "rss_bytes": _sum([each.rss_bytes for each in everything]),
        "pss_bytes": _sum([each.pss_bytes for each in everything]),
        "cpu_percent": _sum([each.cpu_percent for each in everything]) if cpu_over_s else None,
        "left_running": _left(system) if not alive else [],
    }


@dataclass(frozen=True, slots=True)
class _Measured:
    """Processor time at the start of a measurement, by process, and how long it took."""

    cpu_s: dict[Identity, float]
    over_s: float

    def percent(self, process: Identity | None, usage: Usage) -> float | None:
        if process is None or usage.cpu_s is None or process not in self.cpu_s or not self.over_s:
            return None
        return round(100 * (usage.cpu_s - self.cpu_s[process]) / self.over_s, 2)


def _cpu(system: SystemRecord) -> dict[Identity, float]:
    processes = [system.supervisor, *system.processes]
    broker = _broker_identity(system)
    found = {each: usage_of(each.pid, with_pss=False).cpu_s for each in (*processes, *([broker] if broker else []))}
    return {process: cpu_s for process, cpu_s in found.items() if cpu_s is not None}


def _process(name: str, state: str, process: Identity | None, measured: _Measured, **facts: Any) -> ProcessStatus:
    usage = usage_of(process.pid) if process is not None and is_alive(process) else Usage(None, None, None)
    return ProcessStatus(
        name=name,
        state=str(state),
        pid=process.pid if process is not None else None,
        restarts=facts.get("restarts", 0),
        up_s=facts.get("up_s"),
        rss_bytes=usage.rss_bytes,
        pss_bytes=usage.pss_bytes,
        cpu_s=usage.cpu_s,
        cpu_percent=measured.percent(process, usage),
        last_error=facts.get("last_error", ""),
        remedy=facts.get("remedy", ""),
    )


def _worker(worker: WorkerRecord, system: SystemRecord, measured: _Measured) -> WorkerStatus:
    lives = worker.process is not None and is_alive(worker.process)
    up_s = round(time.time() - worker.started_us / 1e6, 1) if lives else None
    of_process = _process(
        worker.name,
        worker.state if lives or worker.process is None else State.STOPPED,
        worker.process,
        measured,
        restarts=worker.restarts,
        up_s=up_s,
        last_error=worker.last_error,
        remedy=worker.remedy,
    )
    host = worker.host or probes.reachable_host(system.host)
    metrics = ""
    if lives and worker.is_stage:
        answer = probes.get(host, worker.port, "/metrics", probes.METRICS_TIMEOUT_S)
        metrics = answer[1] if answer is not None and answer[0] == 200 else ""
    counted = probes.sums(metrics, COUNTED)
    return WorkerStatus(
        **asdict(of_process),
        ready=lives and probes.is_ready(host, worker.port, worker.ready_path),
        port=worker.port,
        rows_in=_whole(counted.get(ROWS_IN)),
        rows_out=_whole(counted.get(ROWS_OUT)),
        rejected=_whole(counted.get(REJECTED)),
        lag_s=round(counted[LAG_S], 3) if LAG_S in counted else None,
        lag_messages=_whole(counted.get(LAG_MESSAGES)),
        sensors={
            phase: round(count)
            for phase, count in probes.sums_by(metrics, SENSORS, "phase").items()
            if count and phase != NO_BASELINE
        },
        log=worker.log,
    )


def _broker_identity(system: SystemRecord) -> Identity | None:
    from pipeline.tools.system.identity import identity_of

    running = local.process_of(Path(system.broker.data)) if system.broker is not None else None
    return identity_of(running.pid) if running is not None else None


def _broker(system: SystemRecord, measured: _Measured) -> tuple[ProcessStatus, dict[str, Any]] | None:
    if system.broker is None:
        return None
    found = local.status(Path(system.broker.data))
    state = ANSWERS if found.answering else "does not answer" if found.running else "does not run"
    facts = {"restarts": system.broker.restarts, "last_error": system.broker.last_error}
    of_process = _process("broker", state, _broker_identity(system), measured, **facts)
    return of_process, {
        "data": system.broker.data,
        "data_bytes": found.data_bytes,
        "is_ours": system.broker.is_ours,
        "bootstrap": found.state.bootstrap if found.state is not None else None,
    }


def _is_ready(system: SystemRecord, alive: bool, workers: list[WorkerStatus], broker: ProcessStatus | None) -> bool:
    """Whether everything is: also the Kafka that `up` started, which workers wait for without a word at first."""
    kafka_answers = broker is None or broker.state == ANSWERS
    return alive and system.phase is Phase.RUNNING and kafka_answers and all(worker.ready for worker in workers)


def _left(system: SystemRecord) -> list[str]:
    """What runs on of a system whose supervisor was killed."""
    left = leftovers.find(system)
    names = [f"{worker.name} (pid {worker.process.pid})" for worker in left.workers if worker.process is not None]
    return names + ([f"Kafka at {left.broker.bootstrap} (pid {left.broker.pid})"] if left.broker is not None else [])


def _sum(values: list[Any]) -> Any:
    known = [value for value in values if value is not None]
    return round(sum(known), 2) if known else None


def _whole(value: float | None) -> int | None:
    return None if value is None else round(value)
