"""Memory and rates of the running flow over time: flat, or not.

`python -m tests.bench.soak [--minutes 30] [--rate 20000]`: a broker and the six stages of its own, eight sensors, a
record a message at a steady rate; every ten seconds what each process has resident, what Kafka took and what the
archive has. Writes docs/performance/soak.json and soak.svg, and the tables of the docs.
"""

import argparse
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from loadtest.sending import Load, send
from loadtest.workload.pictures import Chart, picture
from pipeline.archive.upkeep.verify import account
from pipeline.runtime.kafka import clients
from pipeline.tools.load.run import Target
from pipeline.tools.load.targets import learning_for, local_target
from pipeline.tools.system.identity import usage_of
from tests.bench import figures
from tests.bench.bench_flow import SCENARIO, SEED
from tests.docs.tables import write_pages

EVERY_S = 10.0
DRAIN_S = 120.0


class Watch:
    """A row of figures every ten seconds."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._start_s = self._next_s = time.monotonic()
        self.rows: list[dict[str, Any]] = []

    def seen(self, sent: int) -> None:
        """Called with every message that was sent; mostly too early."""
        now = time.monotonic()
        if now >= self._next_s:
            self._next_s += EVERY_S
            self.row(sent)

    def row(self, sent: int) -> int:
        """Take a row; records in the archive, those of open files included."""
        counted = account(self._target.settings.archive_uri)
        archived: int = sum(each["accepted"] + each["late"] + each["rejected"] + each["open"] for each in counted)
        usage = {name: usage_of(pid) for name, pid in self._target.pids.items()}
        self.rows.append(
            {
                "at_s": round(time.monotonic() - self._start_s, 1),
                "sent": sent,
                "archived": archived,
                "rss_mib": {name: round((each.rss_bytes or 0) / 2**20) for name, each in usage.items()},
                "cpu_s": {name: round(each.cpu_s or 0.0, 2) for name, each in usage.items()},
            }
        )
        return archived


def slopes(rows: list[dict[str, Any]]) -> dict[str, float]:
    """By how many MiB an hour each process grew over the second half; until then caches fill."""
    later = [row for row in rows if row["at_s"] >= rows[-1]["at_s"] / 2]
    if len(later) < 3:
        return {}
    hours = [row["at_s"] / 3600 for row in later]
    return {
        name: round(float(np.polyfit(hours, [row["rss_mib"][name] for row in later], 1)[0]), 1)
        for name in later[0]["rss_mib"]
    }


def rates(rows: list[dict[str, Any]], what: str) -> list[tuple[float, float]]:
    """Records a second between the rows, over a minute each: the archive writes its manifests in steps."""
    step = max(1, round(60 / EVERY_S))
    pairs = zip(rows, rows[step:], strict=False)
    return [(end["at_s"] / 60, (end[what] - start[what]) / (end["at_s"] - start["at_s"])) for start, end in pairs]


def drawn(rows: list[dict[str, Any]]) -> str:
    """Memory and rates over time."""
    memory = {
        name: [(row["at_s"] / 60, float(row["rss_mib"][name])) for row in rows]
        for name in sorted(rows[-1]["rss_mib"], key=lambda each: -rows[-1]["rss_mib"][each])
    }
    return picture(
        [
            Chart("resident memory", "minutes", "MiB", memory),
            Chart(
                "records a second, over a minute",
                "minutes",
                "records/s",
                {"sent": rates(rows, "sent"), "archived": rates(rows, "archived")},
            ),
        ]
    )


def soaked(minutes: float, rate: float) -> list[dict[str, Any]]:
    """Load a system of its own for so long, then wait until the archive has all of it, two minutes at most."""
    records = round(rate * minutes * 60)
    load = Load(SCENARIO, records, SEED, rate=rate, seconds=minutes * 60 + DRAIN_S)
    speed = load.span_us / 1e6 / (minutes * 60)
    with local_target(learning_for(speed * minutes * 60)) as target:
        watch = Watch(target)
        connection: Mapping[str, Any] = clients.connection(target.settings, "bench")
        sent = send(load, target.settings.topics.raw, connection, progress=watch.seen)
        assert sent.finished, sent.refused
        deadline = time.monotonic() + DRAIN_S
        while (archived := watch.row(sent.records)) < records and time.monotonic() < deadline:
            time.sleep(EVERY_S)
    if archived < records:  # what was measured until then is written all the same
        print(f"{archived:,} of {records:,} records were archived {DRAIN_S:g} s after the last was sent", flush=True)
    return watch.rows


def main() -> None:
    """Print first, most and last memory of each process."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--rate", type=float, default=20_000.0, help="records a second")
    parser.add_argument("--quick", action="store_true", help="to var/performance")
    arguments = parser.parse_args()
    folder: Path = figures.QUICK_FOLDER if arguments.quick else figures.FOLDER
    started = figures.origin("python -m tests.bench.soak")
    rows = soaked(arguments.minutes, arguments.rate)
    document = {
        "minutes": arguments.minutes,
        "rate": arguments.rate,
        "growth_mib_per_hour": slopes(rows),
        "rows": rows,
    }
    figures.write(folder, "soak", document, started)
    (folder / "soak.svg").write_text(drawn(rows), encoding="utf-8")
    for name in rows[-1]["rss_mib"]:
        seen = [row["rss_mib"][name] for row in rows]
        print(f"{name:10} {seen[0]:>6} MiB at first, {max(seen):>6} at most, {seen[-1]:>6} at last")
    if not arguments.quick:
        write_pages()


if __name__ == "__main__":
    main()
