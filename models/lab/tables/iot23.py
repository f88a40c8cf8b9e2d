"""IoT-23: Zeek's flow logs of infected and healthy devices, one `*.conn.log.labeled` a capture.

The last tab field holds three columns joined by three spaces. Labels are spelt `Benign` or `benign`; an attack's name
is its detailed label. Unset values (`-`) are missing. Time is a flow's end: Zeek writes flows as they end.
"""

import csv
from functools import cache
from pathlib import Path

import numpy as np

from models.errors import RefusedModel
from models.lab.tables.table import NORMAL, Column, Table
from models.rows import Doubles, Ints, Strings

SUFFIX = ".conn.log.labeled"
UNSET = ("-", "(empty)", "")
CATEGORIES = ("proto", "service", "conn_state", "history")
NUMBERS = (
    "duration",
    "orig_bytes",
    "resp_bytes",
    "missed_bytes",
    "orig_pkts",
    "orig_ip_bytes",
    "resp_pkts",
    "resp_ip_bytes",
)
# Who it was and when, not what it did. The responder's port too: in these captures the control server is the only
# one at 6667 and the flood's only target at 80, so that a port is an attack's name. `service` stays: Zeek finds it in
# the payload. local_orig, local_resp and tunnel_parents are never set.
ADDRESSES = ("id.orig_h", "id.resp_h")
PORTS = ("id.orig_p", "id.resp_p")
BLOCK_US = 1_800_000_000  # half an hour: long enough for a campaign, short enough that both sides see several
BLOCKS_A_CAPTURE = 1_000_000


def captures(folder: Path) -> tuple[str, ...]:
    """Names of the captures a folder holds, ascending."""
    return tuple(sorted(path.name.removesuffix(SUFFIX) for path in folder.glob(f"*{SUFFIX}")))


@cache
def load(folder: Path) -> Table:
    """All captures of a folder, without identifiers; RefusedModel where there is none, or one is no such log.

    Groups are half-hours of a capture: `group // BLOCKS_A_CAPTURE` is its position in `captures`.
    """
    return _table(folder, NUMBERS, CATEGORIES)


@cache
def identifiers(folder: Path) -> Table:
    """The same records with nothing but addresses, ports and time of day: what `load` leaves out."""
    return _table(folder, (*PORTS, "ts"), ADDRESSES)


def _table(folder: Path, numbers: tuple[str, ...], categories: tuple[str, ...]) -> Table:
    cells = [_read(folder / f"{name}{SUFFIX}") for name in captures(folder)]
    if not cells:
        raise RefusedModel(f"{folder}: got no *{SUFFIX}, expected captures of IoT-23; name its folder with --data")
    time_us = [_time_us(capture) for capture in cells]
    group = [
        (time - time.min()) // BLOCK_US + number * BLOCKS_A_CAPTURE for number, time in enumerate(time_us) if len(time)
    ]
    columns, values = [], []
    for name in numbers:
        columns.append(Column(name, "number"))
        values.append(np.concatenate([_number(capture[name]) for capture in cells]))
    for name in categories:
        words, codes = np.unique(np.concatenate([capture[name] for capture in cells]), return_inverse=True)
        columns.append(Column(name, "category", tuple(map(str, words))))
        values.append(codes.astype(np.float64))
    benign = np.char.lower(np.concatenate([capture["label"] for capture in cells])) == "benign"
    detail = np.concatenate([capture["detailed-label"] for capture in cells])
    label = np.where(benign, NORMAL, np.where(np.isin(detail, UNSET), "malicious", detail))
    return Table(
        "iot-23", tuple(columns), np.column_stack(values), label, label, np.concatenate(group), np.concatenate(time_us)
    )


def _read(path: Path) -> dict[str, Strings]:
    """Text of every column, by name."""
    names: list[str] = []
    rows: list[list[str]] = []
    try:
        with path.open(newline="", encoding="utf-8") as file:
            for number, line in enumerate(csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE), start=1):
                if line and line[0] == "#fields":
                    names = [*line[1:-1], *line[-1].split()]
                elif line and not line[0].startswith("#"):
                    row = [*line[:-1], *line[-1].split("   ")]
                    if len(row) != len(names):
                        raise RefusedModel(
                            f"{path}, line {number}: got {len(row)} fields, expected {len(names)} as in #fields"
                        )
                    rows.append(row)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise RefusedModel(f"{path}: got {error}, expected a labelled conn.log of Zeek as UTF-8") from error
    needed = {"ts", "label", "detailed-label", *NUMBERS, *CATEGORIES, *ADDRESSES, *PORTS}
    if not needed <= set(names) or not rows:
        raise RefusedModel(
            f"{path}: got {len(rows)} records without {', '.join(sorted(needed - set(names))) or 'nothing missing'}, "
            "expected a labelled conn.log of IoT-23"
        )
    return {
        name: np.asarray(column, dtype=np.str_) for name, column in zip(names, zip(*rows, strict=True), strict=True)
    }


def _number(text: Strings) -> Doubles:
    """Decimal text → float64, NaN where unset; RefusedModel names what is neither."""
    try:
        result: Doubles = np.where(np.isin(text, UNSET), "nan", text).astype(np.float64)
    except ValueError as error:
        raise RefusedModel(f"conn.log: {error}, expected a number or -") from error
    return result


def _time_us(cells: dict[str, Strings]) -> Ints:
    seconds = _number(cells["ts"]) + np.nan_to_num(_number(cells["duration"]))
    if not np.isfinite(seconds).all():
        raise RefusedModel("conn.log: got a record without a time, expected ts in seconds")
    result: Ints = np.round(seconds * 1e6).astype(np.int64)
    return result
