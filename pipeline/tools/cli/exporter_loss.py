"""What was lost before Kafka, as text for people."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from rich.text import Text

from pipeline.tools.cli.table import plain, table

MAX_RANGES = 5  # of an exporter, the newest
HEAD = "lost before Kafka, by the exporters' own sequence numbers (not by Forebay, so it fails nothing):"


def shown(sensors: list[dict[str, Any]]) -> list[Any]:
    """A heading and a row for each exporter; nothing where no record has a number."""
    rows = [
        [
            *(one["site"], one["sensor"], exporter["address"], exporter["domain"], exporter["protocol"]),
            *(_missing(exporter), exporter["gaps"], exporter["resets"]),
        ]
        for one in sensors
        for exporter in one["exporters"]
    ]
    if not rows:
        return []
    head = ["site", "sensor", "exporter", "domain", "protocol", "missing", "gaps", "restarts"]
    return [Text(HEAD), table(head, rows)]


def _missing(exporter: dict[str, Any]) -> str:
    if exporter["missing"] is None:
        return "not known"
    at_most = "at most " if exporter["missing"] and not exporter["exact"] else ""
    return f"{at_most}{exporter['missing']:,} {exporter['unit']}"


def ranges(sensors: list[dict[str, Any]]) -> Iterator[str]:
    """A line for each exporter that lacks something: which numbers, and why it may be less."""
    for one in sensors:
        sensor = plain(f"{one['site']}/{one['sensor']}")
        for exporter in one["exporters"]:
            name = f"{sensor}, exporter {plain(exporter['address'])} domain {plain(exporter['domain'])}"
            if exporter["missing"] is None:
                yield f"{name}: not known: {'; '.join(exporter['why'])}"
            elif exporter["missing"]:
                newest = exporter["ranges"][-MAX_RANGES:]
                more = exporter["gaps"] - len(newest)
                texts = [_range(found) for found in newest]
                before = f"{more:,} ranges and " if more else ""
                doubt = "" if exporter["exact"] else f"; at most, since {'; '.join(exporter['why'])}"
                yield f"{name}: {exporter['unit']} missing: {before}{', '.join(texts)}{doubt}"
        if one["exporters_left_out"]:
            yield f"{sensor}: {one['exporters_left_out']:,} records of further exporters left out"


def _range(found: dict[str, int]) -> str:
    numbers = f"{found['first']}" if found["missing"] == 1 else f"{found['first']} to {found['last']}"
    return f"{numbers} ({found['missing']:,}, until {_time(found['until_us'])})"


def _time(time_us: int) -> str:
    seconds = min(max(time_us, 0) // 1_000_000, 253_402_300_799)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S}Z"
