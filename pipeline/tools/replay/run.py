"""A replay from start to end: its folder, its partitions over one or more processes, its progress, its figures."""

import hashlib
import math
import multiprocessing
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_EXCEPTION, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, replace
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa

from pipeline.errors import Failed, RefusedState, Usage
from pipeline.runtime import failpoints
from pipeline.runtime.files import write_atomic
from pipeline.runtime.kafka import clients, topics
from pipeline.runtime.locks import HOLDER, exclusive
from pipeline.settings import Settings
from pipeline.tools.replay import history, states
from pipeline.tools.replay import request as requests
from pipeline.tools.replay.outlet import settings_of
from pipeline.tools.replay.partition_replay import NO_TIME, POLL_S, Checkpoint, PartitionReplay
from pipeline.tools.replay.request import ARCHIVE, TOPIC, Request
from pipeline.tools.replay.scoring import Scoring
from pipeline.tools.replay.start_points import StartPoint

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
INCIDENTS = "incidents.jsonl"


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a replay is: rows taken in, rows a second, event time reached, share done (0 to 1), and how many seconds
    are left at this rate, nan where that is not known yet. What a resumed run had done before is in `taken` and `done`,
    and not in the rate.
    """

    taken: int
    rows_per_s: float
    reached_us: int
    done: float
    left_s: float = float("nan")


Notify = Callable[[Progress], None]
Warn = Callable[[str], None]


def folder_of(settings: Settings, run: str) -> Path:
    """The folder of a run; Usage for a name that is none."""
    if not NAME.fullmatch(run) or run == "live":
        raise Usage(f"--run {run!r}: expected letters, digits, '.', '_' or '-', at most 64, and not 'live'")
    return settings.replay_uri / run


def run(
    settings: Settings,
    asked: Request,
    workers: int = 1,
    notify: Notify = lambda _: None,
    warn: Warn = lambda _: None,
) -> dict[str, Any]:
    """Run a replay, or what is left of it; return its report. Usage where the run's name stands for another one.

    `warn` is called, before anything is done, with what people have to know of where it starts. Raises Failed where
    the run is at work already.
    """
    failpoints.arm(settings.failpoint)
    folder = folder_of(settings, asked.run)
    folder.mkdir(parents=True, exist_ok=True)
    with _alone(folder):
        request = _resume_or_start(settings, asked, folder)
        for warning in request.warnings:
            warn(warning)
        finished = folder / requests.REPORT
        if finished.is_file():
            document: dict[str, Any] = orjson.loads(finished.read_bytes())
            return document
        if request.topics:
            topics.create(settings_of(settings, request.run))
        started = time.monotonic()
        before = _checkpoints(folder, request)
        checkpoints = _parts(settings, request, folder, workers, notify)
        document = _report(request, folder, checkpoints, before, time.monotonic() - started, workers)
        _write(finished, orjson.dumps(document, option=orjson.OPT_INDENT_2))
        return document


def _resume_or_start(settings: Settings, asked: Request, folder: Path) -> Request:
    before = requests.read(folder)
    if before is not None:
        if not before.same_as(asked):
            raise Usage(
                f"--run {asked.run}: {folder} holds a replay that was asked for something else; name another run, or "
                f"delete the folder; it was asked for {before.encode().decode()}"
            )
        return before
    if asked.source == ARCHIVE:
        ends = history.archive_ends(settings.archive_uri)
    elif asked.source == TOPIC:
        clients.require_broker(settings, 5.0)
        ends = history.flows_ends(settings, settings.partitions)
        bounds = {partition: end for partition, _, end in asked.offsets}
        if absent := bounds.keys() - dict(ends).keys():
            raise Usage(f"--offsets: topic flows has no partition {min(absent)}, expected 0 to {len(ends) - 1}")
        if bounds:
            ends = tuple((number, min(end, bounds[number])) for number, end in ends if number in bounds)
    else:
        raise Usage(f"--source {asked.source}: expected {TOPIC} or {ARCHIVE}")
    if asked.offsets and asked.source == ARCHIVE:
        raise Usage("--offsets: are of topic flows, expected --source topic with them")
    request = states.with_start_points(settings, replace(asked, ends=ends), folder)
    if asked.source == ARCHIVE:
        archive, read_us = settings.archive_uri, request.read_us
        purged = sum(history.archived_rows(archive, partition, end, read_us)[1] for partition, end in ends)
        if purged:
            warning = f"{purged:,} flows of this time were purged (`forebay archive retain`) and are left out"
            request = replace(request, warnings=(*request.warnings, warning))
    _write(folder / requests.NAME, request.encode())
    return request


def _parts(settings: Settings, request: Request, folder: Path, workers: int, notify: Notify) -> list[Checkpoint]:
    started = time.monotonic()
    whole = _whole(settings, request)
    checkpoints = _checkpoints(folder, request)
    before = _taken(checkpoints), _done(request, checkpoints, whole)

    def notify_progress(now: dict[int, Checkpoint]) -> None:
        taken, done, passed = _taken(now), _done(request, now, whole), max(1e-9, time.monotonic() - started)
        rate = (done - before[1]) / passed
        reached = max((checkpoint.reached_us for checkpoint in now.values()), default=NO_TIME)
        left_s = (1.0 - done) / rate if rate > 0 else float("nan")
        notify(Progress(taken, (taken - before[0]) / passed, reached, done, left_s))

    if workers == 1:
        scoring = Scoring(settings, request, settings.partitions)
        for at, (partition, end) in zip(request.began, request.ends, strict=True):

            def note(checkpoint: Checkpoint, partition: int = partition) -> None:
                checkpoints[partition] = checkpoint
                notify_progress(checkpoints)

            with (
                _alone(folder, partition),
                closing(PartitionReplay(settings, request, folder, at, end, scoring)) as part,
            ):
                checkpoints[partition] = part.run(note)
        return [checkpoints[partition] for partition, _ in request.ends]
    # Modules are loaded once, before the processes part: torch alone is seconds of a core.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["__main__", "pipeline.tools.replay.run", "pipeline.score.scoring"])
    stop, count = context.Event(), min(workers, max(1, len(request.ends)))
    with ProcessPoolExecutor(count, context, initializer=_initialise, initargs=(stop,)) as pool:
        asked = [
            pool.submit(_part, settings, request, folder, at, end)
            for at, (_, end) in zip(request.began, request.ends, strict=True)
        ]
        try:
            while (seen := wait(asked, POLL_S, FIRST_EXCEPTION)).not_done:
                for future in seen.done:
                    future.result()  # what failed is reported at once, whatever the others still have to do
                notify_progress(_checkpoints(folder, request))
            return [future.result() for future in asked]
        except BrokenProcessPool:
            raise Failed(f"{folder}: a process of this replay was killed (memory?); the same command resumes") from None
        finally:
            stop.set()
            for future in asked:
                future.cancel()


_stop: Event | None = None
"""In a process of a replay: set once nobody wants what it does."""


def _initialise(stop: Event) -> None:
    """What a process of a replay starts with: it goes when its parent does, however that ended."""
    global _stop
    _stop = stop
    threading.Thread(target=_leave_with_parent, daemon=True).start()


def _leave_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)  # as if killed as well: what it was writing is not whole, and will be written again


def _part(settings: Settings, request: Request, folder: Path, at: StartPoint, end: int) -> Checkpoint:
    """One partition, in a process of its own: it has one core."""
    pa.set_cpu_count(1)

    def poll(_checkpoint: Checkpoint) -> None:
        if _stop is not None and _stop.is_set():
            raise Failed(f"{folder}: another partition of this replay failed; the same command resumes")

    with _alone(folder, at.partition):
        poll(Checkpoint(0))
        scoring = Scoring(settings, request, settings.partitions)
        with closing(PartitionReplay(settings, request, folder, at, end, scoring)) as part:
            return part.run(poll)


def _checkpoints(folder: Path, request: Request) -> dict[int, Checkpoint]:
    """The checkpoints written so far, by partition."""
    paths = {partition: folder / f"p{partition}.json" for partition, _ in request.ends}
    return {number: Checkpoint(**orjson.loads(path.read_bytes())) for number, path in paths.items() if path.is_file()}


def _taken(checkpoints: dict[int, Checkpoint]) -> int:
    return sum(checkpoint.taken for checkpoint in checkpoints.values())


def _whole(settings: Settings, request: Request) -> int:
    """How much there is to go through: offsets of the topic, rows of an archive."""
    if request.source == ARCHIVE:
        archive, bounds = settings.archive_uri, request.read_us
        return sum(history.archived_rows(archive, partition, end, bounds)[0] for partition, end in request.ends)
    # A state may have been retained beyond the end that was asked for just before.
    return sum(max(0, end - at.position) for at, (_, end) in zip(request.began, request.ends, strict=True))


def _done(request: Request, checkpoints: dict[int, Checkpoint], whole: int) -> float:
    """Which share of it is done."""
    if request.source == ARCHIVE:
        done = _taken(checkpoints)
    else:
        positions = {partition: checkpoint.position for partition, checkpoint in checkpoints.items()}
        done = sum(
            max(0, min(positions.get(partition, at.position), end) - at.position)
            for at, (partition, end) in zip(request.began, request.ends, strict=True)
        )
    return min(1.0, done / whole) if whole else 1.0


def _report(
    request: Request,
    folder: Path,
    checkpoints: list[Checkpoint],
    before: dict[int, Checkpoint],
    seconds: float,
    workers: int,
) -> dict[str, Any]:
    """What came of it; rates are of what was done now, in these seconds, not `before`."""
    incidents = last_events(folder, checkpoints)
    lines = b"".join(incidents[uid] + b"\n" for uid in sorted(incidents))
    _write(folder / INCIDENTS, lines)
    digest = hashlib.sha256()
    for checkpoint in checkpoints:
        for chunk in checkpoint.chunks:
            digest.update(bytes.fromhex(chunk["rows_sha256"]))
    taken = sum(checkpoint.taken for checkpoint in checkpoints)
    now, span_us = _now(request, checkpoints, before)
    return {
        "run": request.run,
        "source": request.source,
        "model": request.model,
        "from_us": request.from_us,
        "to_us": request.to_us,
        "ends": [list(end) for end in request.ends],
        "began": [asdict(start) for start in request.began],
        "warnings": list(request.warnings),
        "taken": taken,
        "rows": sum(checkpoint.rows for checkpoint in checkpoints),
        "suspects": sum(checkpoint.suspects for checkpoint in checkpoints),
        "incidents": len(incidents),
        "rows_sha256": digest.hexdigest(),
        "incidents_sha256": hashlib.sha256(lines).hexdigest(),
        "seconds": round(seconds, 2),
        "rows_per_s": round(now / max(seconds, 1e-9)),
        "times_real_time": round(span_us / 1e6 / max(seconds, 1e-9), 1),
        "workers": workers,
        "folder": str(folder),
    }


def _now(request: Request, checkpoints: list[Checkpoint], before: dict[int, Checkpoint]) -> tuple[int, int]:
    """Rows taken in since `before`, and how much event time they span."""
    moved = []
    for (partition, _), checkpoint in zip(request.ends, checkpoints, strict=True):
        was = before.get(partition, Checkpoint(0))
        if checkpoint.taken > was.taken:
            moved.append(
                (
                    checkpoint.taken - was.taken,
                    was.reached_us if was.taken else checkpoint.first_us,
                    checkpoint.reached_us,
                )
            )
    if not moved:
        return 0, 0
    return sum(rows for rows, _, _ in moved), max(row[2] for row in moved) - min(row[1] for row in moved)


def last_events(folder: Path, checkpoints: list[Checkpoint]) -> dict[str, bytes]:
    """The last event of every incident, by uid."""
    last: dict[str, tuple[int, bytes]] = {}
    for checkpoint in checkpoints:
        for chunk in checkpoint.chunks:
            path = folder / chunk["events_file"]
            data = path.read_bytes()
            if hashlib.sha256(data).hexdigest() != chunk["events_sha256"]:
                raise RefusedState(f"{path}: is not what the replay wrote; delete {folder} and replay again")
            for line in data.splitlines():
                event = orjson.loads(line)
                uid, revision = event["finding_info"]["uid"], event["metadata"]["sequence"]
                if uid not in last or last[uid][0] < revision:
                    last[uid] = revision, line
    return {uid: line for uid, (_, line) in last.items()}


@contextmanager
def _alone(folder: Path, partition: int | None = None) -> Iterator[None]:
    """Nobody else is at work on this run, or on a partition of it; the lock goes with the process.

    A partition's is waited for: the process that a killed run left behind holds it until it notices.
    """
    name, wait_s = (".lock", 0.0) if partition is None else (f".lock-p{partition}", math.inf)
    busy = f"{folder}: this replay is at work already ({HOLDER}); wait for it, or name another --run"
    with exclusive(folder / name, wait_s, busy):
        yield


def _write(path: Path, data: bytes) -> None:
    failpoints.reached("replay.next file")
    write_atomic(path, data, durable=False)
