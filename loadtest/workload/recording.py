"""What one sensor sends in a stretch of time, as encoded lines that can be played again with other times and uids."""

import csv
import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from loadtest.conn_json import Bytes, Ints, Words, mixed
from loadtest.plants.generated.attacks import ATTACKS
from loadtest.plants.generated.calendar import HOUR_US
from loadtest.plants.generated.plant import EVENTS_FILE, START_US, Plan, plant_of, write_plant
from loadtest.plants.westermo import traffic as westermo
from loadtest.workload.playing import played

TIME_BYTES, UID_BYTES = 17, 18  # 1740960000.123456; C and 17 letters and digits
NO_EVENT, NO_UID = -1, -1
_ZEEK_UID_AT = TIME_BYTES + 1
# Of an ICSFlow CSV: what a record says of its own place in the file, and what only its authors know.
_LEFT_OUT = {*westermo.LABEL_COLUMNS, "startDate", "endDate", "startOffset", "endOffset"}


@dataclass(frozen=True, slots=True)
class Log:
    """A kind of line: its content type, and the columns that go with it as a header."""

    content_type: str
    columns: tuple[str, ...]


@dataclass(frozen=True)
class Recording:
    """n lines in the order they are sent, within [0, span_us) of a stretch that may be played over and over."""

    span_us: int
    logs: tuple[Log, ...]
    text: Bytes
    bounds: Ints  # (n + 1,) line k is text[bounds[k]:bounds[k + 1]], its newline included
    log: npt.NDArray[np.int64]  # (n,) index into logs
    end_us: Ints  # (n,) when it is sent, from the stretch's start on, ascending
    times_us: Ints  # (n, t) the times in it, from the stretch's start on
    times_at: Ints  # (n, t) where they stand in the line
    uid: Words  # (n,) a number for the connection
    uid_at: int  # where the uid stands in every line, or NO_UID
    event: Ints  # (n,) index into events, or NO_EVENT
    events: tuple[str, ...]

    @property
    def records(self) -> int:
        """How many lines there are."""
        return len(self.end_us)

    @cached_property
    def attack_start_us(self) -> int | None:
        """When the first record of an attack is sent; None where there is no attack."""
        times = self.end_us[self.event != NO_EVENT]
        return int(times[0]) if len(times) else None

    def before(self, time_us: Ints) -> Ints:
        """How many records are sent before each point in time of the stretch."""
        return np.searchsorted(self.end_us, time_us)

    def play(self, rows: Ints, shift_us: Ints, salt: Words) -> tuple[bytes, Ints]:
        """The lines of `rows` one behind the other, with times moved by `shift_us` and uids of `salt`, and bounds."""
        return played(
            self.text, self.bounds, (self.times_us, self.times_at), (self.uid, self.uid_at), (rows, shift_us, salt)
        )


@dataclass(frozen=True, slots=True)
class PlantPart:
    """Hours of a generated plant, seen by a sensor that sees all; attacks take place in order of chance."""

    size: str = "small"
    from_hour: float = 9.0
    hours: float = 1.0
    operations: bool = False
    """Whether the logs of industrial operations are sent, too."""
    attacks: tuple[str, ...] = ()
    copies: int = 1
    """So many such plants side by side, each at addresses of its own; attacks take place in the first."""


def of_plant(part: PlantPart, seed: int, attacked: bool) -> Recording:
    """The recording of a part of the generated plant of a seed, with or without its attacks."""
    end_h = part.from_hour + part.hours
    # The attacks' own stretch starts a tenth in, so that what is usual comes before.
    attacks_from = (part.from_hour + part.hours / 10) / 24
    plan = Plan(end_h / 24, seed, part.size, 1, part.attacks if attacked else (), (), attacks_from)
    with tempfile.TemporaryDirectory(prefix="forebay-plant-") as name:
        folder = Path(name)
        plant = plant_of(plan)
        write_plant(plant, folder)
        events = json.loads((folder / EVENTS_FILE).read_text(encoding="utf-8"))["events"]
        labels = {event["name"]: event["uids"].get("plant", []) for event in events if event["name"] in ATTACKS}
        paths = sorted((folder / "plant").glob("*.log")) if part.operations else [folder / "plant" / "conn.log"]
        return of_zeek(paths, labels, START_US + round(part.from_hour * HOUR_US), round(part.hours * HOUR_US))


def of_zeek(paths: Sequence[Path], labels: dict[str, list[str]], start_us: int, span_us: int) -> Recording:
    """The recording of logs of Zeek (TSV, uid second, times of whole microseconds) within a stretch of time.

    labels: the uids of each event's records. A connection is sent when it ended, an operation when it was.
    """
    parts = [_zeek_log(path) for path in paths]
    lines = pa.concat_arrays([part.lines for part in parts])
    log = np.repeat(np.arange(len(parts)), [len(part.lines) for part in parts])
    at_us, end_us = (np.concatenate(columns) for columns in zip(*((p.at_us, p.end_us) for p in parts), strict=True))
    inside = np.flatnonzero((end_us >= start_us) & (end_us < start_us + span_us))
    order = inside[np.argsort(end_us[inside], kind="stable")]
    lines = lines.take(pa.array(order))
    uids = pc.utf8_slice_codeunits(lines.cast(pa.string()), _ZEEK_UID_AT, _ZEEK_UID_AT + UID_BYTES)
    event = np.full(len(order), NO_EVENT, np.int64)
    for number, those in enumerate(labels.values()):
        event[pc.is_in(uids, pa.array(those, pa.string())).to_numpy(zero_copy_only=False)] = number
    halves = np.frombuffer(b"".join(uid[1:17].encode() for uid in uids.to_pylist()), np.uint64).reshape(-1, 2)
    text, bounds = text_of(lines)
    return Recording(
        span_us,
        tuple(part.log for part in parts),
        text,
        bounds,
        log[order],
        end_us[order] - start_us,
        (at_us[order] - start_us)[:, None],
        np.zeros((len(order), 1), np.int64),
        mixed(halves[:, 0], halves[:, 1]),
        _ZEEK_UID_AT + 1,
        event,
        tuple(labels),
    )


def of_westermo(sensor: str, from_us: int = westermo.FIRST_FLOW_US, span_us: int | None = None) -> Recording:
    """The recording of a sensor of the Westermo plant as it was captured; its events are those of its labels."""
    rows = [row for row in westermo.rows(sensor) if westermo.epoch_us(row["end"]) >= from_us]
    end_us = np.array([westermo.epoch_us(row["end"]) for row in rows], np.int64)
    span = span_us or int(end_us.max()) - from_us + 1
    chosen = np.flatnonzero(end_us < from_us + span)
    order = chosen[np.argsort(end_us[chosen], kind="stable")]
    names = [name for name in rows[0] if name not in _LEFT_OUT]
    # The two times come first, so that they stand at the same index of every line.
    columns = ["start", "end", *(name for name in names if name not in ("start", "end"))]
    lines, event, times = [], [], []
    for row in (rows[number] for number in order.tolist()):
        start, end = westermo.epoch_us(row["start"]), westermo.epoch_us(row["end"])
        shown = [f"{time // 1_000_000}.{time % 1_000_000:06d}" for time in (start, end)]
        lines.append(",".join([*shown, *(row[name] for name in columns[2:])]).encode())
        label = row[westermo.LABEL]
        event.append(westermo.ATTACKS.index(label) if label in westermo.ATTACKS else NO_EVENT)
        times.append((start - from_us, end - from_us))
    text, bounds = text_of(pa.array(lines, pa.binary()))
    return Recording(
        span,
        (Log("icsflow+csv", tuple(columns)),),
        text,
        bounds,
        np.zeros(len(lines), np.int64),
        end_us[order] - from_us,
        np.array(times, np.int64).reshape(-1, 2),
        np.tile(np.array([0, TIME_BYTES + 1], np.int64), (len(lines), 1)),
        np.zeros(len(lines), np.uint64),
        NO_UID,
        np.array(event, np.int64),
        westermo.ATTACKS,
    )


@dataclass(frozen=True, slots=True)
class _ZeekLog:
    log: Log
    lines: pa.BinaryArray
    at_us: Ints
    end_us: Ints


def _zeek_log(path: Path) -> _ZeekLog:
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    (fields,) = [tuple(row[1:]) for row in rows if row[0] == "#fields"]
    records = [row for row in rows if not row[0].startswith("#")]
    at_us = np.array([westermo.epoch_us(row[0]) for row in records], np.int64)
    end_us = at_us
    if "duration" in fields:
        duration = fields.index("duration")
        took = [0 if row[duration] == "-" else westermo.epoch_us(row[duration]) for row in records]
        end_us = at_us + np.array(took, np.int64)
    lines = pa.array(["\t".join(row).encode() for row in records], pa.binary())
    return _ZeekLog(Log(f"zeek-{path.stem}+tsv", fields), lines, at_us, end_us)


def text_of(lines: pa.BinaryArray) -> tuple[Bytes, Ints]:
    """Lines one behind the other, each with its newline, and where each starts; a last bound where all end."""
    every = b"".join(line + b"\n" for line in lines.to_pylist())
    sizes = pc.binary_length(lines).to_numpy(zero_copy_only=False).astype(np.int64) + 1
    return np.frombuffer(every, np.uint8), np.concatenate(([0], np.cumsum(sizes)))
