"""A replay from beginning to end: its folder, its parts over one or more processes, its progress, its figures."""

import fcntl
import hashlib
import multiprocessing
import os
import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa

from pipeline.errors import Failed, RefusedState, Usage
from pipeline.kafka import clients, topics
from pipeline.replay import history
from pipeline.replay import request as requests
from pipeline.replay.outlet import settings_of
from pipeline.replay.part import NO_TIME, Head, Part
from pipeline.replay.request import ARCHIVE, TOPIC, Request
from pipeline.replay.scoring import Scoring
from pipeline.settings import Settings

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
LOOK_S = 0.5
REPORT = "replay.json"
INCIDENTS = "incidents.jsonl"


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a replay is: rows taken in, rows a second, event time reached, share done (0 to 1, nan unknown)."""

    taken: int
    rows_per_s: float
    reached_us: int
    done: float


Told = Callable[[Progress], None]


def folder_of(settings: Settings, run: str) -> Path:
    """The folder of a run; Usage for a name that is none."""
    if not NAME.fullmatch(run) or run == "live":
        raise Usage(f"--run {run!r}: expected letters, digits, '.', '_' or '-', at most 64, and not 'live'")
    return settings.replay_uri / run


def run(settings: Settings, asked: Request, workers: int = 1, told: Told = lambda _: None) -> dict[str, Any]:
    """Do a replay, or what is left of it; its report. Usage where the run's name stands for another one.

    Raises Failed where the run is at work already.
    """
    folder = folder_of(settings, asked.run)
    folder.mkdir(parents=True, exist_ok=True)
    with _alone(folder):
        request = _begin(settings, asked, folder)
        finished = folder / REPORT
        if finished.is_file():
            document: dict[str, Any] = orjson.loads(finished.read_bytes())
            return document
        if request.topics:
            topics.create(settings_of(settings, request.run))
        began = time.monotonic()
        heads = _parts(settings, request, folder, workers, told)
        document = _report(request, folder, heads, time.monotonic() - began, workers)
        _write(finished, orjson.dumps(document, option=orjson.OPT_INDENT_2))
        return document


def _begin(settings: Settings, asked: Request, folder: Path) -> Request:
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
        if bounds:
            ends = tuple((number, min(end, bounds[number])) for number, end in ends if number in bounds)
    else:
        raise Usage(f"--source {asked.source}: expected {TOPIC} or {ARCHIVE}")
    if asked.offsets and asked.source == ARCHIVE:
        raise Usage("--offsets: are of topic flows, expected --source topic with them")
    if asked.speed and asked.source == ARCHIVE:
        raise Usage("--speed: an archive comes a file at a time, expected --source topic with it")
    request = replace(asked, ends=ends)
    _write(folder / requests.NAME, request.encode())
    return request


def _parts(settings: Settings, request: Request, folder: Path, workers: int, told: Told) -> list[Head]:
    began = time.monotonic()  # what a resumed run had done before does not count into its rate
    before = sum(head.taken for head in _heads(folder, request))

    def tell(head_of: dict[int, Head] | None = None) -> None:
        heads = head_of or {number: head for number, head in enumerate(_heads(folder, request))}
        taken = sum(head.taken for head in heads.values())
        passed = max(1e-9, time.monotonic() - began)
        reached = max((head.reached_us for head in heads.values()), default=NO_TIME)
        told(Progress(taken, (taken - before) / passed, reached, _share(request, heads)))

    if workers == 1:
        scoring = Scoring(settings, request, settings.partitions)
        heads: dict[int, Head] = {}
        for partition, end in request.ends:

            def note(head: Head, partition: int = partition) -> None:
                heads[partition] = head
                tell(heads)

            part = Part(settings, request, folder, partition, end, scoring)
            heads[partition] = part.run(note)
            part.close()
        return [heads[partition] for partition, _ in request.ends]
    # Modules are loaded once, before the processes part: torch alone is seconds of a core.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["__main__", "pipeline.replay.run", "pipeline.score.scoring"])
    with ProcessPoolExecutor(min(workers, max(1, len(request.ends))), context) as pool:
        asked = [pool.submit(_part, settings, request, folder, *end) for end in request.ends]
        while wait(asked, LOOK_S).not_done:
            tell()
        return [one.result() for one in asked]


def _part(settings: Settings, request: Request, folder: Path, partition: int, end: int) -> Head:
    """One partition, in a process of its own, which is to have one core."""
    pa.set_cpu_count(1)
    part = Part(settings, request, folder, partition, end, Scoring(settings, request, settings.partitions))
    try:
        return part.run()
    finally:
        part.close()


def _heads(folder: Path, request: Request) -> Iterator[Head]:
    for partition, _ in request.ends:
        path = folder / f"p{partition}.json"
        if path.is_file():
            yield Head(**orjson.loads(path.read_bytes()))


def _share(request: Request, heads: dict[int, Head]) -> float:
    """How much of the topic is done; an archive does not say beforehand how many steps it has."""
    whole = sum(end for _, end in request.ends)
    if request.source == ARCHIVE or not whole:
        return float("nan")
    return min(
        1.0, sum(min(head.position, end) for head, (_, end) in zip(heads.values(), request.ends, strict=False)) / whole
    )


def _report(request: Request, folder: Path, heads: list[Head], seconds: float, workers: int) -> dict[str, Any]:
    incidents = last_events(folder, heads)
    lines = b"".join(incidents[uid] + b"\n" for uid in sorted(incidents))
    _write(folder / INCIDENTS, lines)
    digest = hashlib.sha256()
    for head in heads:
        for chunk in head.chunks:
            digest.update(bytes.fromhex(chunk["rows_sha256"]))
    taken = sum(head.taken for head in heads)
    span_us = max((head.reached_us for head in heads), default=0) - min(
        (head.first_us for head in heads if head.first_us != NO_TIME), default=0
    )
    return {
        "run": request.run,
        "source": request.source,
        "model": request.model,
        "from_us": request.from_us,
        "to_us": request.to_us,
        "ends": [list(end) for end in request.ends],
        "taken": taken,
        "rows": sum(head.rows for head in heads),
        "suspects": sum(head.suspects for head in heads),
        "incidents": len(incidents),
        "rows_sha256": digest.hexdigest(),
        "incidents_sha256": hashlib.sha256(lines).hexdigest(),
        "seconds": round(seconds, 2),
        "rows_per_s": round(taken / max(seconds, 1e-9)),
        "times_real_time": round(span_us / 1e6 / max(seconds, 1e-9), 1) if taken else 0.0,
        "workers": workers,
        "folder": str(folder),
    }


def last_events(folder: Path, heads: list[Head]) -> dict[str, bytes]:
    """The last event of every incident, by uid."""
    last: dict[str, tuple[int, bytes]] = {}
    for head in heads:
        for chunk in head.chunks:
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
def _alone(folder: Path) -> Iterator[None]:
    """Nobody else is at work on this run; the lock goes with the process."""
    handle = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Failed(f"{folder}: this replay is at work already; wait for it, or name another --run") from None
        yield
    finally:
        os.close(handle)


def _write(path: Path, data: bytes) -> None:
    partial = path.with_name(f".{path.name}.partial")
    partial.write_bytes(data)
    partial.replace(path)
