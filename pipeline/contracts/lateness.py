"""How long a sensor's later flows may overtake earlier ones, where its messages say so: its sources' own lateness.

A message of `raw` states its source's lateness in a header; ingest hands on, in the facts of a message of `flows`,
which records say what; featurize keeps what holds. Of several that a sensor's messages state the largest holds. A
larger one holds with the flow that states it; a smaller one once event time has moved on by HOLD_US since the larger
was stated. Messages that state none have that of their site (settings.py), and count as if they stated it.
"""

from collections.abc import Iterable
from typing import NamedTuple

from pipeline.contracts.raw import ZEEK_JSON, ZEEK_TSV
from schemas.intake import MAX_LATENESS_US

HOLD_US = 3_600_000_000
"""A source that sends nothing for so long does not hold up the others of its sensor."""

UNSTATED_US = -1
"""Where a number is needed: messages state none."""

NEVER_US = -(1 << 62)
"""When a lateness was stated last, where none ever was."""

FORMAT_LATENESS_US = dict.fromkeys((ZEEK_JSON, ZEEK_TSV), 300_000_000)
"""Of live sources of a format, where they have none of their own: Zeek writes a connection when its longest timeout by
default has passed, five minutes (docs/adr/0055)."""

EXPECTED_LATENESS = f"a whole number of microseconds from 0 to {MAX_LATENESS_US}"


class StatedLateness(NamedTuple):
    """From offset `raw_offset` of `raw` on, up to the sensor's next one, its messages state `us`; None: none."""

    site: str
    sensor: str
    raw_offset: int
    us: int | None


class SensorLateness(NamedTuple):
    """What holds at a sensor whose messages state a lateness."""

    site: str
    sensor: str
    us: int


def of_live_source(own_us: int | None, content_type: str) -> int | None:
    """What messages of a live source state: its own lateness, else that of its format; None: that of its site holds."""
    return FORMAT_LATENESS_US.get(content_type) if own_us is None else own_us


def largest(stated_us: Iterable[int | None], site_us: int) -> int:
    """What holds where a sensor's messages state these, of a site whose lateness is `site_us`."""
    return max((site_us if us is None else us for us in stated_us), default=site_us)


def takes_over(says_us: int, holds_us: int, stated_at_us: int, now_us: int) -> bool:
    """Whether what a flow says holds from now on, where `holds_us` held, and was stated last at `stated_at_us`."""
    return stated_at_us == NEVER_US or says_us >= holds_us or now_us - stated_at_us > HOLD_US
