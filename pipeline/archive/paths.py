"""Where a file lies in the archive: names that say what is in it, whatever a sensor calls itself.

<archive>/<table>/site=S/sensor=S/date=YYYY-MM-DD/hour=HH/p<raw partition>-<first raw position>-<last>.parquet
<archive>/_manifests/p<partition>/<number>.json     the chain of manifests
<archive>/_open/p<partition>/<number>.arrow         rows of files that are still open
<archive>/_tmp/p<partition>-<claim>/                files being written
"""

import hashlib
from pathlib import Path, PurePosixPath

import numpy as np

from pipeline.archive.streams import StreamKey
from pipeline.errors import RefusedState

SAFE = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.")
LONGEST_NAME = 120  # bytes; file systems allow 255 for a whole name
MIXED = "mixed"

Position = tuple[int, int]


def escape(name: str) -> str:
    """A site's or sensor's name as part of a folder's name: one name, one folder; never a path, never too long.

    Bytes of UTF-8 other than letters, digits, `-`, `_` and `.` become %XX (the folder's name begins with `site=`, so
    dots lead nowhere); a long name is cut and gets its hash after a `~`, which no short name holds. The empty name is
    `~`.

    >>> escape("../etc"), escape("line 4"), escape("")
    ('..%2Fetc', 'line%204', '~')
    """
    escaped = "".join(chr(byte) if byte in SAFE else f"%{byte:02X}" for byte in name.encode("utf-8"))
    if len(escaped) <= LONGEST_NAME:
        return escaped or "~"
    kept = escaped[: LONGEST_NAME - 33]
    digest = hashlib.sha256(name.encode("utf-8")).hexdigest()[:32]
    return f"{kept.rpartition('%')[0] if '%' in kept[-2:] else kept}~{digest}"


def data_path(key: StreamKey, hour: int | None, partition: int, first: Position, last: Position) -> PurePosixPath:
    """The path of a closed file below the archive; `hour` counts from the epoch, None for rows of very many hours."""
    date, of_day = (MIXED, MIXED) if hour is None else str(np.datetime64(hour, "h")).split("T")
    return (
        PurePosixPath(key.table)
        / f"site={escape(key.site)}"
        / f"sensor={escape(key.sensor)}"
        / f"date={date}"
        / f"hour={of_day}"
        / f"p{partition}-{first[0]}.{first[1]}-{last[0]}.{last[1]}.parquet"
    )


def manifests(archive: Path, partition: int) -> Path:
    """The folder of a partition's manifests."""
    return archive / "_manifests" / f"p{partition}"


def manifest(archive: Path, partition: int, number: int) -> Path:
    """Manifest `number` of a partition."""
    return manifests(archive, partition) / f"{number:010d}.json"


def segments(archive: Path, partition: int) -> Path:
    """The folder of a partition's open rows."""
    return archive / "_open" / f"p{partition}"


def segment(partition: int, number: int, part: int) -> PurePosixPath:
    """A file of open rows, below the archive; a segment has a part for each schema."""
    return PurePosixPath("_open") / f"p{partition}" / f"{number:010d}-{part}.arrow"


def temporary(archive: Path, partition: int, claim: int) -> Path:
    """The folder a writer writes its files in before they are placed; a later claim deletes it."""
    return archive / "_tmp" / f"p{partition}-{claim}"


def within(archive: Path, path: str) -> Path:
    """A manifest's path below the archive; RefusedState where it leads out of it."""
    relative = PurePosixPath(path)
    if relative.is_absolute() or ".." in relative.parts or not relative.parts:
        raise RefusedState(
            f"archive {archive}: a manifest names {path!r}, expected a path inside the archive; do not use it"
        )
    return archive / relative
