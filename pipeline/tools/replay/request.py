"""What a replay is asked for, stored in its folder: a resumed run does what the first one was asked."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import orjson

from pipeline.errors import RefusedState, Usage
from pipeline.tools.replay.start_points import StartPoint

TOPIC, ARCHIVE = "topic", "archive"
NAME = "request.json"
REPORT = "replay.json"
"""In the same folder, once a replay has finished."""


@dataclass(frozen=True, slots=True)
class Request:
    """One replay.

    Parameters
    ----------
    run
        Its name.
    source
        `topic` (the flows in Kafka) or `archive` (closed files).
    from_us, to_us
        Event time of the flows that come out, `to_us` exclusive; None: no bound. What lies before is gone through as
        well, for windows and incidents have a past.
    offsets
        Bounds in topic `flows` in place of times: partition, first offset, end offset (exclusive).
    model
        A model's id, a folder, `shipped`; None: the models that scored live.
    features
        Whether the rows that come out carry their feature matrix.
    topics
        Whether what comes out also goes into topics of the run's own.
    speed
        So many times as fast as it happened, by event time; 0: as fast as can be.
    warmup_us
        How long before `from_us` an archive is read from, and beyond `to_us` up to: the flows of
        an incident before or after that are not seen.
    ends
        Where each partition ends, fixed when the run started: offsets of `flows`, or numbers of manifests.
    states
        Whether a replay from the topic may start with retained states (start_points.py).
    began
        Where each partition starts, fixed likewise.
    warnings
        What people have to know of that.
    """

    run: str
    source: str = TOPIC
    from_us: int | None = None
    to_us: int | None = None
    offsets: tuple[tuple[int, int, int], ...] = ()
    model: str | None = None
    features: bool = True
    topics: bool = False
    speed: float = 0.0
    warmup_us: int = 86_400_000_000
    ends: tuple[tuple[int, int], ...] = ()
    states: bool = True
    began: tuple[StartPoint, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def read_us(self) -> tuple[int | None, int | None]:
        """Event times between which an archive's files are read: incidents at the bounds have a past and an end."""
        return (
            None if self.from_us is None else self.from_us - self.warmup_us,
            None if self.to_us is None else self.to_us + self.warmup_us,
        )

    def encode(self) -> bytes:
        """As JSON."""
        return orjson.dumps(asdict(self), option=orjson.OPT_SORT_KEYS | orjson.OPT_INDENT_2)

    def same_as(self, other: "Request") -> bool:
        """Whether both ask for the same; the source's start and end at the time of asking do not count."""
        fixed: dict[str, Any] = {"ends": (), "began": (), "warnings": ()}
        return asdict(self) | fixed == asdict(other) | fixed


def read(folder: Path) -> Request | None:
    """The request a folder holds, None where there is none."""
    path = folder / NAME
    if not path.is_file():
        return None
    try:
        document: dict[str, Any] = orjson.loads(path.read_bytes())
        document["offsets"] = tuple(tuple(map(int, values)) for values in document["offsets"])
        document["ends"] = tuple(tuple(map(int, values)) for values in document["ends"])
        document["began"] = tuple(StartPoint(**values) for values in document["began"])
        document["warnings"] = tuple(map(str, document["warnings"]))
        return Request(**document)
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError) as error:
        raise RefusedState(f"{path}: got {error!r}, expected a replay's request; name another run") from error


def speed_of(text: str) -> float:
    """A speed as it is typed, `max` or a number above 0; 0.0 stands for `max`.

    >>> speed_of("max"), speed_of("20")
    (0.0, 20.0)
    """
    try:
        speed = 0.0 if text == "max" else float(text)
    except ValueError:
        speed = -1.0
    if not 0.0 <= speed < float("inf") or (speed == 0.0 and text != "max"):
        raise Usage(f"--speed {text!r}: expected max, or how many times as fast as it happened, as 20")
    return speed


def offsets_of(text: str) -> tuple[tuple[int, int, int], ...]:
    """Offsets as they are typed: `0:100-250,1:7-9`; Usage where that is not what they are.

    >>> offsets_of("0:100-250,1:7-9")
    ((0, 100, 250), (1, 7, 9))
    """
    ranges = []
    for part in text.split(","):
        partition, _, bounds = part.strip().partition(":")
        first, _, end = bounds.partition("-")
        if not (partition.isdecimal() and first.isdecimal() and end.isdecimal()) or int(first) >= int(end):
            raise Usage(f"--offsets {part!r}: expected PARTITION:FIRST-END with FIRST below END, as in 0:100-250")
        ranges.append((int(partition), int(first), int(end)))
    if len({partition for partition, _, _ in ranges}) < len(ranges):
        raise Usage(f"--offsets {text!r}: a partition is named twice, expected one range each")
    return tuple(sorted(ranges))
