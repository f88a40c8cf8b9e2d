"""What a file of the archive is called: names that say what is in it, whatever a sensor calls itself.

All names are below the archive, wherever that lies (pipeline/runtime/storage/storage.py).

<archive>/<table>/packed/date=YYYY-MM-DD/p<raw partition>-<word>.parquet     closed files, many in one (compaction)
<archive>/<table>/given-up/date=...                  where their records came from alone (retention)
<archive>/<table>/site=S/sensor=S/date=YYYY-MM-DD/hour=HH/p<raw partition>-<first raw position>-<last>.parquet
<archive>/_manifests/p<partition>/<number>.json     the chain of manifests
<archive>/_checkpoints/p<partition>/<number>.checkpoint   manifests 0 to <number> in one (checkpoint.py)
<archive>/_open/p<partition>/<number>.arrow         rows of files that are still open
<archive>/_tmp/p<partition>-<claim>/                files being written
"""

import hashlib
import re
from pathlib import PurePosixPath

import numpy as np

from pipeline.archive.streams import StreamKey
from pipeline.errors import RefusedState

SAFE = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.")
MAX_NAME_BYTES = 120  # bytes; file systems allow 255 for a whole name
MIXED = "mixed"
PACKED, PURGED = "packed", "given-up"  # names of folders, in every archive
CHECKPOINT = re.compile(r"\d{10,}\.checkpoint")

Position = tuple[int, int]


def escape(name: str) -> str:
    """A site's or sensor's name as part of a folder's name: one name, one folder; never a path, never too long.

    Bytes of UTF-8 other than letters, digits, `-`, `_` and `.` become %XX (the folder's name starts with `site=`, so
    dots lead nowhere); a long name is cut and gets its hash after a `~`, which no short name holds. The empty name is
    `~`.

    >>> escape("../etc"), escape("line 4"), escape("")
    ('..%2Fetc', 'line%204', '~')
    """
    escaped = "".join(chr(byte) if byte in SAFE else f"%{byte:02X}" for byte in name.encode("utf-8"))
    if len(escaped) <= MAX_NAME_BYTES:
        return escaped or "~"
    prefix = escaped[: MAX_NAME_BYTES - 33]
    digest = hashlib.sha256(name.encode("utf-8")).hexdigest()[:32]
    return f"{prefix.rpartition('%')[0] if '%' in prefix[-2:] else prefix}~{digest}"


def data_file(key: StreamKey, hour: int | None, partition: int, first: Position, last: Position) -> str:
    """The name of a closed file; `hour` counts from the epoch, None for rows of very many hours."""
    date, of_day = (MIXED, MIXED) if hour is None else str(np.datetime64(hour, "h")).split("T")
    folder = f"{key.table}/site={escape(key.site)}/sensor={escape(key.sensor)}/date={date}/hour={of_day}"
    return f"{folder}/p{partition}-{first[0]}.{first[1]}-{last[0]}.{last[1]}.parquet"


def beside(data_file: str, sha256: str) -> str:
    """A name for a file whose own is taken by other bytes."""
    return f"{data_file.removesuffix('.parquet')}-{sha256[:12]}.parquet"


def date_of(data_file: str) -> str:
    """The date in a closed file's name, `YYYY-MM-DD` or `mixed`.

    >>> date_of("flows/site=a/sensor=b/date=2026-01-31/hour=07/p0-0.0-9.0.parquet")
    '2026-01-31'
    """
    return next((part[5:] for part in data_file.split("/") if part.startswith("date=")), MIXED)


def pack(table: str, kind: str, date: str, partition: int, word: str) -> str:
    """The name of a pack; `kind`: PACKED or PURGED; `word`: one that no other attempt has, so that none can mistake
    what another has left behind for its own.
    """
    return f"{table}/{kind}/date={date}/p{partition}-{word}.parquet"


def manifests(partition: int) -> str:
    """The folder of a partition's manifests."""
    return f"_manifests/p{partition}"


def manifest(partition: int, number: int) -> str:
    """Manifest `number` of a partition."""
    return f"{manifests(partition)}/{number:010d}.json"


def checkpoints(partition: int) -> str:
    """The folder of a partition's checkpoints."""
    return f"_checkpoints/p{partition}"


def checkpoint(partition: int, number: int) -> str:
    """The checkpoint that ends at manifest `number`."""
    return f"{checkpoints(partition)}/{number:010d}.checkpoint"


def is_checkpoint(name: str) -> bool:
    """Whether a file of that folder is one, and not half of one."""
    return CHECKPOINT.fullmatch(name.rpartition("/")[2]) is not None


def segments(partition: int) -> str:
    """The folder of a partition's open rows."""
    return f"_open/p{partition}"


def segment(partition: int, number: int, part: int) -> str:
    """A file of open rows; a segment has a part for each schema."""
    return f"{segments(partition)}/{number:010d}-{part}.arrow"


def temporary(partition: int, claim: int) -> str:
    """The folder a writer writes its files in before they are placed; a later claim deletes it."""
    return f"_tmp/p{partition}-{claim}"


def within(name: str) -> str:
    """A manifest's name of a file; RefusedState where it leads out of the archive."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or not path.parts or str(path) != name:
        raise RefusedState(
            f"a manifest names {name!r}, expected the name of a file inside the archive; do not use this archive"
        )
    return name
