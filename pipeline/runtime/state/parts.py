"""A state saved in parts: what has not changed since the last time is not written again.

A part is a blob of its own. The state's blob names its parts by digest; without parts it is the stage's
snapshot, unchanged.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import orjson

from pipeline.errors import RefusedState
from pipeline.runtime.state.store import Store

MAGIC = b"FOREBAY-PARTS-1\n"

Part = tuple[object, str]
"""The object that was saved, and its digest."""


@dataclass(frozen=True, slots=True)
class Saved:
    """A saved state: its digest, and its parts by name."""

    digest: str
    parts: Mapping[str, Part] = field(default_factory=dict)
    written: int = 0
    """Bytes that had to be written."""

    @property
    def digests(self) -> set[str]:
        """The digests of every blob it needs."""
        return {self.digest, *(digest for _, digest in self.parts.values())}


def put(
    store: Store, rest: bytes, parts: Mapping[str, object], part_out: Callable[[object], bytes], before: Saved | None
) -> Saved:
    """Save a state: its parts, then the blob that names them.

    A part is written unless it is the same object as in `before` and its blob is still there.
    """
    known = before.parts if before is not None else {}
    saved_parts: dict[str, Part] = {}
    changed = []
    for name, part in parts.items():
        was, digest = known.get(name, (None, ""))
        if was is not part or not store.touch(digest):
            changed.append(name)
            digest = ""
        saved_parts[name] = part, digest
    sizes: list[int] = []

    def blobs() -> Iterator[bytes]:
        for name in changed:
            blob = part_out(parts[name])
            sizes.append(len(blob))
            yield blob

    for name, digest in zip(changed, store.put_many(blobs()), strict=True):
        saved_parts[name] = parts[name], digest
    written = sum(sizes)
    blob = rest
    if saved_parts:
        names = orjson.dumps({name: digest for name, (_, digest) in saved_parts.items()}, option=orjson.OPT_SORT_KEYS)
        blob = MAGIC + names + b"\n" + rest
    return Saved(store.put(blob), saved_parts, written + len(blob))


def get(store: Store, digest: str) -> tuple[bytes, dict[str, str]]:
    """The rest of a saved state and the digests of its parts by name; RefusedState where it is not whole."""
    blob = store.get(digest)
    if not blob.startswith(MAGIC):
        return blob, {}
    names, newline, rest = blob[len(MAGIC) :].partition(b"\n")
    try:
        digests = orjson.loads(names)
        if not newline or not all(isinstance(value, str) for value in digests.values()):
            raise ValueError("names and digests expected")
    except (orjson.JSONDecodeError, AttributeError, ValueError) as error:
        raise RefusedState(
            f"state {store.name}/{digest[:12]}: got {names[:40]!r} ({error}), expected the digests of its parts; "
            "an older version wrote it, or another program did: restore an older one"
        ) from error
    return rest, digests
