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
            *(row["site"], row["sensor"], exporter["address"], exporter["domain"], exporter["protocol"]),
            *(_missing(exporter), exporter["gaps"], exporter["resets"]),
        ]
        for row in sensors
        for exporter in row["exporters"]
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
    for row in sensors:
        sensor = plain(f"{row['site']}/{row['sensor']}")
        for exporter in row["exporters"]:
            name = f"{sensor}, exporter {plain(exporter['address'])} domain {plain(exporter['domain'])}"
            if exporter["missing"] is None:
                yield f"{name}: not known: {'; '.join(exporter['why'])}"
            elif exporter["missing"]:
                newest = exporter["ranges"][-MAX_RANGES:]
                more = exporter["gaps"] - len(newest)
                texts = [_range(gap) for gap in newest]
                before = f"{more:,} ranges and " if more else ""
                doubt = "" if exporter["exact"] else f"; at most, since {'; '.join(exporter['why'])}"
                yield f"{name}: {exporter['unit']} missing: {before}{', '.join(texts)}{doubt}"
        if row["exporters_left_out"]:
            yield f"{sensor}: {row['exporters_left_out']:,} records of further exporters left out"


def _range(gap: dict[str, int]) -> str:
    numbers = f"{gap['first']}" if gap["missing"] == 1 else f"{gap['first']} to {gap['last']}"
    return f"{numbers} ({gap['missing']:,}, until {_time(gap['until_us'])})"


def _time(time_us: int) -> str:
    seconds = min(max(time_us, 0) // 1_000_000, 253_402_300_799)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S}Z"
