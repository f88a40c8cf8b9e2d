"""Whose content a file is: files are recognised by their first bytes, and by the last ones that were read."""

from enum import Enum

from pipeline.ingest.follow.content import Content
from pipeline.ingest.follow.position import HEAD_BYTES, digest
from pipeline.ingest.follow.tail import Followed

# Files that are open are looked up by so many first bytes; then the rest is compared.
_LOOKUP_BYTES = 32


class Identity(Enum):
    """What a file's bytes say of whose they are."""

    NEW = "new"
    """No file that is known begins like that."""
    SAME = "same"
    """A known file, or a copy of it: everything that was read of that one is there."""
    CUT = "cut"
    """A known file without what was read of it last: a power cut takes back what was not on the disk yet."""
    UNCLEAR = "unclear"
    """It begins as a known file and has less: a copy that is being made, or a header that others have too."""


class KnownFiles:
    """The files that are known, by their first bytes.

    Of a file that lies nowhere only digests are known; of one that does, its bytes.
    """

    def __init__(self) -> None:
        self._by_digest: dict[int, dict[str, Followed]] = {}
        self._by_bytes: dict[bytes, list[Followed]] = {}
        self._short: set[bytes] = set()
        """Of the keys of `_by_bytes` those of shorter files."""
        self._kept: dict[Followed, bytes | tuple[int, str]] = {}

    def add(self, followed: Followed) -> None:
        """Know a file as it is now: anew whenever it was found, or is found no more."""
        self.remove(followed)
        if followed.key is None:
            if followed.head_bytes:
                self._by_digest.setdefault(followed.head_bytes, {})[followed.head] = followed
                self._kept[followed] = followed.head_bytes, followed.head
            return
        first = followed.first[:_LOOKUP_BYTES]
        self._by_bytes.setdefault(first, []).append(followed)
        self._kept[followed] = first
        if len(first) < _LOOKUP_BYTES:
            self._short.add(first)

    def remove(self, followed: Followed) -> None:
        """Know it no longer."""
        entry = self._kept.pop(followed, None)
        if isinstance(entry, tuple):
            digests = self._by_digest[entry[0]]
            if digests.get(entry[1]) is followed:
                del digests[entry[1]]
        elif entry is not None:
            files = self._by_bytes[entry]
            files.remove(followed)
            if not files:
                del self._by_bytes[entry]
                self._short.discard(entry)

    def identify(self, content: Content) -> tuple[Identity, Followed | None]:
        """Whose content this is."""
        head = content.read(0, HEAD_BYTES)
        if not head:
            return Identity.UNCLEAR, None
        unclear = False
        for followed in self._lying(head):
            size = min(len(head), len(followed.first))
            if followed.key is None or not size or head[:size] != followed.first[:size]:
                continue
            if len(head) >= len(followed.first) and followed.is_within(content):
                return Identity.SAME, followed
            unclear = True
        for size, digests in self._by_digest.items():
            known = digests.get(digest(head[:size])) if len(head) >= size else None
            if known is not None and known.key is None and known.head_bytes == size:
                if known.is_within(content):
                    return Identity.SAME, known
                if size == HEAD_BYTES and not known.done:
                    return Identity.CUT, known
                unclear = True
        return (Identity.UNCLEAR if unclear else Identity.NEW), None

    def _lying(self, head: bytes) -> list[Followed]:
        """Files that lie somewhere and may begin like that: those of the same first bytes, and short ones."""
        start = head[:_LOOKUP_BYTES]
        keys = {start, *(self._by_bytes if len(start) < _LOOKUP_BYTES else self._short)}
        return [each for key in keys for each in self._by_bytes.get(key, ())]
