"""How far a follower has come in one file: the record of topic `positions`, written with the messages it accounts for.

A file is known by its content, never by its name: by its first bytes, and by the last ones before the offset. Names,
devices and inodes change under rotation, compression and a reboot.
"""

import hashlib
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import orjson

from pipeline.errors import RefusedState

# Of the first bytes of a file so many are compared: the header of any table that is read, and some records.
HEAD_BYTES = 4_096
# Of the last bytes that were sent so many are compared before more is read: some records, whose times differ.
TAIL_BYTES = 512
VERSION = 1


def digest(data: bytes) -> str:
    """Sixteen bytes of BLAKE2b, in hex: content that differs has another one."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()


@dataclass(frozen=True, slots=True)
class Layout:
    """What a file has said of its records so far: its format and what its header lines hold."""

    content_type: str = ""
    columns: tuple[str, ...] = ()
    separator: str = "\t"
    unset: str = "-"
    empty: str = "(empty)"
    passing_over: int = 0
    """Lines still to come that are no records: what nfdump writes below its table."""
    array: bool = False
    """Objects of a JSON array, or over several lines, not a record a line."""
    months_first: bool = False
    """Whether the month comes first in its dates as 11/3/2023."""


@dataclass(frozen=True, slots=True)
class FilePosition:
    """Of one file: what it is, and how much of it lies in `raw`.

    Parameters
    ----------
    number : counts the files of one follower, from 1; with the follower's name the key of the record
    live : the path that is followed, of which this file is or was the content
    path, device, inode : where it lay last; hints
    head_bytes, head : digest of its first bytes, at most HEAD_BYTES, and no more than were sent
    tail_bytes, tail : digest of the last bytes before `offset`
    offset : byte of the (unpacked) content to read next
    inside : whether that byte lies inside a record that is too long and was sent cut off
    records : how many were sent
    size_bytes, modified_us : of the file when it was last read; modified_us while it lay under the live path
    committed_us : when this was written
    done : nothing more is expected of it
    lost : it was not found again, and that was reported
    """

    number: int
    live: str
    path: str
    device: int
    inode: int
    head_bytes: int
    head: str
    tail_bytes: int
    tail: str
    offset: int
    inside: bool
    records: int
    size_bytes: int
    modified_us: int
    committed_us: int
    done: bool
    lost: bool
    site: str
    sensor: str
    layout: Layout = field(default_factory=Layout)

    def encoded(self, follower: str) -> bytes:
        """The value of its record."""
        return orjson.dumps({"version": VERSION, "follower": follower, **asdict(self)}, option=orjson.OPT_SORT_KEYS)


def key_of(follower: str, number: int) -> str:
    """The key of a file's record."""
    return f"{follower}#{number}"


def number_of(follower: str, key: bytes | None) -> int | None:
    """Which file of this follower a key names; None where it is another's."""
    name, _, number = (key or b"").rpartition(b"#")
    return int(number) if name == follower.encode() and number.isdigit() else None


_TYPES = {each.name: each.type for each in fields(FilePosition) if each.name != "layout"}


def decode(value: bytes, where: str) -> FilePosition:
    """The position in a record's value; RefusedState where it is none: without it records would be sent twice."""
    try:
        document = orjson.loads(value)
        layout = Layout(**{**document["layout"], "columns": tuple(document["layout"]["columns"])})
        facts: dict[str, Any] = {name: document[name] for name in _TYPES}
        bad = [name for name, kind in _TYPES.items() if type(facts[name]) is not kind]
        version = document["version"]
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        raise RefusedState(_refusal(where, f"{type(error).__name__}: {error}")) from error
    if bad or version != VERSION:
        raise RefusedState(_refusal(where, f"version {version}, other types of {', '.join(bad) or 'nothing'}"))
    return FilePosition(**facts, layout=layout)


def _refusal(where: str, got: str) -> str:
    return (
        f"{where}: got a position that cannot be read ({got}), expected one of version {VERSION}; run the version of "
        "Forebay that wrote it, or give the follower another --name: then its files are sent again from their start"
    )
