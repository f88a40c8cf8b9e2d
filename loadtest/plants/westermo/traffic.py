"""The Westermo plant: flow records, event log, and the cut between what trains the model and what the demo streams.

Flow records and labels are read as the upstream files have them. Two traps (see SOURCE.md): epochs in events.txt are
3,600 s ahead of those of the flows, and rows are not in time order.
"""

import csv
import io
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path

SITE = "westermo"
SENSORS = ("bottom", "left")
FIRST_FLOW_US = 1_678_440_574_078_823
CUT_US = FIRST_FLOW_US + 3_000_000_000
EMBARGO_US = 60_000_000
TRAIN_END_US = CUT_US - EMBARGO_US
EVENT_LOG_AHEAD_US = 3_600_000_000
LABEL = "NST_M_Label"
LABEL_COLUMNS = ("IT_B_Label", "IT_M_Label", "NST_B_Label", "NST_M_Label")

ATTACKS = ("BAD-MITM", "BAD-SSH", "BAD-PORTSCAN1", "BAD-PORTSCAN2")
FAULTS = ("BAD-MISCONF", "BAD-MISCONF-DUPLICATION")
EVENT_LINE = re.compile(
    r"\[(?P<seconds>\d+)\.(?P<fraction>\d{3})[^\]]*\]\s*\[(?P<name>[A-Z0-9-]+)-(?P<edge>START|END)\](?P<text>.*)"
)


@dataclass(frozen=True, slots=True)
class Event:
    """One labelled stretch of the event log, in the flows' own clock."""

    name: str
    start_us: int
    end_us: int
    text: str

    @property
    def kind(self) -> str:
        """`attack`, `fault`, or `benign` (a harmless login)."""
        if self.name in ATTACKS:
            return "attack"
        return "fault" if self.name in FAULTS else "benign"


def zipped(sensor: str) -> Path:
    """The sensor's flow records as published: a zip of one CSV."""
    return Path(str(files("loadtest.plants.westermo").joinpath(f"output_{sensor}.zip")))


def rows(sensor: str) -> Iterator[dict[str, str]]:
    """The sensor's records with their labels, in file order."""
    with zipfile.ZipFile(zipped(sensor)) as archive, archive.open(archive.namelist()[0]) as member:
        yield from csv.DictReader(io.TextIOWrapper(member, "utf-8", newline=""))


def epoch_us(seconds: str) -> int:
    """Decimal seconds as whole microseconds, without a detour through floating point."""
    whole, _, fraction = seconds.partition(".")
    return int(whole) * 1_000_000 + int(fraction.ljust(6, "0")[:6] or 0)


def write_after_cut(sensor: str, path: Path) -> int:
    """Write the records that start after the cut as CSV, labels included (sending strips them); their number."""
    count = 0
    with path.open("w", encoding="utf-8", newline="") as target:
        writer: csv.DictWriter[str] | None = None
        for row in rows(sensor):
            if writer is None:
                writer = csv.DictWriter(target, list(row))
                writer.writeheader()
            if epoch_us(row["start"]) >= CUT_US:
                writer.writerow(row)
                count += 1
    return count


def labels(path: Path) -> list[str]:
    """The NST class label of every data row of such a CSV, by `source_record`."""
    with path.open(encoding="utf-8", newline="") as source:
        return [row[LABEL] for row in csv.DictReader(source)]


def times_us(path: Path) -> list[tuple[int, int]]:
    """Start and end of every data row of such a CSV, by `source_record`."""
    with path.open(encoding="utf-8", newline="") as source:
        return [(epoch_us(row["start"]), epoch_us(row["end"])) for row in csv.DictReader(source)]


@cache
def events() -> tuple[Event, ...]:
    """All labelled events in order of their start, in the flows' clock (epoch microseconds, UTC)."""
    started: dict[str, tuple[int, str]] = {}
    ended: list[Event] = []
    log = files("loadtest.plants.westermo").joinpath("events.txt").read_text(encoding="utf-8")
    for line in log.splitlines():
        match = EVENT_LINE.match(line)
        if match is None:
            continue
        at_us = int(match["seconds"]) * 1_000_000 + int(match["fraction"]) * 1_000 - EVENT_LOG_AHEAD_US
        if match["edge"] == "START":
            started[match["name"]] = (at_us, match["text"].strip())
        elif match["name"] in started:
            start_us, text = started.pop(match["name"])
            ended.append(Event(match["name"], start_us, at_us, text))
    return tuple(sorted(ended, key=lambda event: event.start_us))


def events_after_cut() -> tuple[Event, ...]:
    """The events the demo must find, and those it must leave alone."""
    return tuple(event for event in events() if event.start_us >= CUT_US)
