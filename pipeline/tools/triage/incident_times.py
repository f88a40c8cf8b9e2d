"""When incidents were: counts over time of what a filter leaves, for the strip above the list."""

from typing import Any

from pipeline.tools.triage.database import Database
from pipeline.tools.triage.incident_list import Filter, where_of

MINUTE_US = 60_000_000
HOUR_US = 60 * MINUTE_US
DAY_US = 24 * HOUR_US
WIDTHS_US = (
    *(MINUTE_US, 2 * MINUTE_US, 5 * MINUTE_US, 15 * MINUTE_US, 30 * MINUTE_US),
    *(HOUR_US, 3 * HOUR_US, 6 * HOUR_US, 12 * HOUR_US),
    *(DAY_US, 2 * DAY_US, 7 * DAY_US, 30 * DAY_US),
)
MAX_BUCKETS = 120
"""Of the widths the narrowest that needs no more; of wide ones as many as it takes."""


def over_time(database: Database, asked: Filter) -> dict[str, Any]:
    """How many incidents a filter leaves, by when they were seen last.

    width_us: of a bucket. buckets: [start_us, pages, others], those with none left out, in order of time.
    """
    where = where_of(asked)
    with database.reading() as connection:
        span = connection.execute(f"SELECT MIN(last_us), MAX(last_us) FROM incidents {where.sql}", where.values)  # noqa: S608
        first, last = span[0]
        if first is None:
            return {"width_us": WIDTHS_US[0], "buckets": []}
        width = _width_us(int(last) - int(first))
        rows = connection.execute(
            f"SELECT last_us / {width} AS bucket, SUM(page), COUNT(*) FROM incidents {where.sql} "  # noqa: S608
            "GROUP BY bucket ORDER BY bucket",
            where.values,
        )
    buckets = [[int(bucket) * width, int(pages), int(number) - int(pages)] for bucket, pages, number in rows]
    return {"width_us": width, "buckets": buckets}


def _width_us(span_us: int) -> int:
    width = next((each for each in WIDTHS_US if span_us <= each * MAX_BUCKETS), None)
    return width if width is not None else DAY_US * -(-span_us // (DAY_US * MAX_BUCKETS))
