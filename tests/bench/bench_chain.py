"""What a long chain of manifests costs, without a checkpoint and with one: `python -m tests.bench.bench_chain [N]`.

One partition of N manifests (100,000) in a folder: a commit a minute, a closed file every tenth minute, and each day's
files in a pack. Each command is a process of its own; its time is that from its first look at the archive on, its
files are the manifests and checkpoints it read. The last line is one JSON document.
"""

import hashlib
import multiprocessing
import resource
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.archive import paths
from pipeline.archive.manifest import FORMAT_OF_SWAPS, NO_MANIFEST, ClosedFile, Manifest, OpenRows, Pack, Progress
from pipeline.archive.partition import PartitionArchive
from pipeline.archive.streams import FLOWS, LATE, REJECTS, Limits
from pipeline.archive.upkeep import query
from pipeline.archive.upkeep.compact import compact
from pipeline.archive.upkeep.retain import retain
from pipeline.runtime.storage.local_folder import LocalFolder
from pipeline.runtime.wire.batches import empty

MANIFESTS = 100_000
A_DAY, EVERY_TENTH = 1_440, 10
SENSORS = 8
START_DAY_US = 1_767_225_600_000_000  # 2026-01-01
DAY_US = 86_400_000_000
PACK_BYTES = 128 * 1024 * 1024


def build(root: Path, count: int) -> None:
    """Write the chain; each pack and each file of the last day is one empty Parquet file under many names."""
    template = root / "one.parquet"
    pq.write_table(pa.Table.from_batches([empty("scored")]), template)
    sha256, size = hashlib.sha256(template.read_bytes()).hexdigest(), template.stat().st_size
    (root / paths.manifests(0)).mkdir(parents=True)
    previous, waiting = NO_MANIFEST, list[ClosedFile]()
    for number in range(count):
        day, minute = divmod(number, A_DAY)
        files: tuple[ClosedFile, ...] = ()
        packs: tuple[Pack, ...] = ()
        if minute == A_DAY - 1 and number != count - 1:
            date = time.strftime("%Y-%m-%d", time.gmtime((START_DAY_US + day * DAY_US) / 1e6))
            pack = Pack(paths.pack(FLOWS, paths.PACKED, date, 0, f"{day:024x}"), sha256, PACK_BYTES, FLOWS, ())
            packs = (Pack(**{**_fields(pack), "members": tuple(entry.path for entry in waiting)}),)
            _link(template, root / pack.path)
            waiting = []
        elif minute % EVERY_TENTH == 0:
            files = (_closed(day, minute, number, sha256, size),)
            waiting.append(files[0])
        manifest = _manifest(number, previous, files, packs)
        if number == count - 1:
            manifest = Manifest(**{**_fields(manifest), "open": ()})
        data = manifest.encode()
        (root / paths.manifest(0, number)).write_bytes(data)
        previous = hashlib.sha256(data).hexdigest()
    for entry in waiting:
        _link(template, root / entry.path)


def _fields(of: Any) -> dict[str, Any]:
    return {name: getattr(of, name) for name in of.__slots__}


def _link(template: Path, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.hardlink_to(template)


def _closed(day: int, minute: int, number: int, sha256: str, size: int) -> ClosedFile:
    at_us = START_DAY_US + day * DAY_US + minute * 60_000_000
    sensor = f"sensor-{number // EVERY_TENTH % SENSORS}"
    hour = at_us // 3_600_000_000
    date = time.strftime("%Y-%m-%d", time.gmtime(at_us / 1e6))
    first, last = (number * 4_096, 0), (number * 4_096 + 131_071, 0)
    folder = f"{FLOWS}/site=plant/sensor={sensor}/date={date}/hour={hour % 24:02d}"
    name = f"{folder}/p0-{first[0]}.0-{last[0]}.0.parquet"
    return ClosedFile(name, sha256, size, FLOWS, "plant", sensor, 0, first, last, at_us, at_us + 60_000_000, "0" * 64)


def _manifest(number: int, previous: str, files: Iterable[ClosedFile], packs: Iterable[Pack]) -> Manifest:
    swap = bool(tuple(packs))
    commit = number - 1 if swap else number
    rows = tuple((FLOWS, "plant", f"sensor-{sensor}", 1_000 + commit % 997) for sensor in range(SENSORS))
    return Manifest(
        partition=0,
        number=number,
        previous=previous,
        writer=f"archive-0 {number // 10_000:08x}",
        progress=Progress(
            commit * 16, commit * 16, 0, commit * 16, (commit * 4_096, 0), (commit * 4_096, 0), commit * 4_096, commit
        ),
        files=tuple(files),
        open=(OpenRows(paths.segment(0, commit, 0), f"{commit:064x}", 1_000_000, commit, 8_000, rows),),
        watermarks=tuple(("plant", entry.sensor, entry.to_ts_us) for entry in files),
        packs=tuple(packs),
        format=FORMAT_OF_SWAPS if swap else 1,
    )


class Counted:
    """Counts the files of chains that are read, by hooking the folder's two ways to read a whole file."""

    def __init__(self) -> None:
        self.files = 0
        read = LocalFolder.read

        def read_one(folder: LocalFolder, name: str) -> bytes:
            self.files += name.startswith(("_manifests", "_checkpoints"))
            return read(folder, name)

        def read_many(folder: LocalFolder, names: Iterable[str]) -> Iterator[bytes]:
            return (read_one(folder, name) for name in names)

        patch.object(LocalFolder, "read", read_one).start()
        patch.object(LocalFolder, "read_many", read_many).start()


def start(root: Path) -> None:
    """A worker takes the partition over."""
    PartitionArchive(root, 0, Limits(131_072), "bench")


def retain_dry(root: Path) -> None:
    """`forebay archive retain --dry-run` of the first half."""
    retain(root, "2026-02-01", (FLOWS, LATE, REJECTS), time.time() - 600, dry_run=True)


def compact_now(root: Path) -> None:
    """`forebay archive compact`, with nothing to do but the day that has no pack yet and still grows."""
    compact(root, PACK_BYTES, time.time() - 600)


def count_rows(root: Path) -> None:
    """`forebay archive query 'SELECT count(*) FROM flows'`."""
    query.run(root, "SELECT count(*) FROM flows", 1)


COMMANDS: tuple[Callable[[Path], None], ...] = (retain_dry, compact_now, count_rows, start)


def _measure(command: Callable[[Path], None], root: Path, answers: Any) -> None:
    counted, started, cpu = Counted(), time.perf_counter(), time.process_time()
    command(root)
    seconds, cpu_s = time.perf_counter() - started, time.process_time() - cpu
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    answers.put({"s": round(seconds, 2), "cpu_s": round(cpu_s, 2), "files": counted.files, "peak_mib": peak_mib})


def measured(command: Callable[[Path], None], root: Path) -> dict[str, Any]:
    """Run a command in a process of its own."""
    context = multiprocessing.get_context("spawn")
    answers = context.Queue()
    process = context.Process(target=_measure, args=(command, root, answers))
    process.start()
    answer: dict[str, Any] = answers.get(timeout=600)
    process.join()
    return answer


def main() -> None:
    """Build the chain, run each command without a checkpoint and with one."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else MANIFESTS
    with TemporaryDirectory() as folder:
        root = Path(folder)
        build(root, count)
        result: dict[str, Any] = {"manifests": count}
        for name in ("without", "with"):
            # The start comes last: without a checkpoint, it makes the first one.
            result[name] = {command.__name__: measured(command, root) for command in COMMANDS}
            for command, figures in result[name].items():
                time_text = f"{figures['s']:7.2f} s ({figures['cpu_s']:.2f} s of CPU)"
                files_text = f"{figures['files']:7} files of the chain, {figures['peak_mib']:5} MiB"
                print(f"{name:8} a checkpoint: {command:12} {time_text}, {files_text}")
        [*_, newest] = sorted((root / paths.checkpoints(0)).iterdir())
        result["checkpoint_bytes"] = newest.stat().st_size
        print(orjson.dumps(result).decode())


if __name__ == "__main__":
    main()
