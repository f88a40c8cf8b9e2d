"""Which files a follower knows, where each one lies, and which are open."""

import os
from collections import deque
from typing import Any

from pipeline.ingest.follow.chain import Chain
from pipeline.ingest.follow.content import Content, open_content
from pipeline.ingest.follow.identity import KnownFiles
from pipeline.ingest.follow.tail import FileKey, Followed

# Files that are open at once: a glob may match thousands.
MAX_OPEN = 128
MAX_REFUSALS = 10_000


class FileRegistry:
    """Files by their number, their content, and where they lie; one that cannot be read is an event, never raised."""

    def __init__(self) -> None:
        self.chains: dict[str, Chain] = {}
        self.events: deque[tuple[str, dict[str, Any]]] = deque(maxlen=1_000)
        """What an operator may want to know, for the log."""
        self.forgotten: list[int] = []
        """Files whose positions are to be deleted."""
        self._files: dict[int, Followed] = {}
        self._known = KnownFiles()
        self._by_key: dict[FileKey, Followed] = {}
        self._looked_at: dict[str, tuple[int, int, int]] = {}
        """Files that were looked at and need not be followed as they are: path to inode, size and time."""
        self._open: set[Followed] = set()
        self._refusals: dict[str, int | None] = {}
        self._next_number = 1

    def _new(self, chain: Chain) -> Followed:
        followed = Followed(
            self._next_number, chain.live, chain.source.site, chain.source.sensor, chain.source.content_type
        )
        followed.time_zone, followed.lateness_us = chain.source.time_zone, chain.source.lateness_us
        self._files[followed.number] = followed
        self._next_number += 1
        return followed

    def _move(self, followed: Followed, chain: Chain) -> None:
        """It lies under another live path now."""
        former = self.chains.get(followed.live)
        if former is not None:
            if followed in former.files:
                former.files.remove(followed)
            if former.current is followed:
                former.current = None
        followed.live = chain.live

    def _reopen(self, followed: Followed) -> None:
        """There is, or may be, more of it to read."""
        chain = self.chains.get(followed.live)
        followed.done, followed.quiet_since_s = False, 0.0
        if chain is not None and followed not in chain.files:
            chain.files.append(followed)

    def _attach(self, followed: Followed, path: str, content: Content) -> None:
        self._lose_sight(followed)
        followed.attach(path, content)
        if followed.key is not None:
            self._by_key[followed.key] = followed
        self._known.add(followed)
        self._open.add(followed)
        if not followed.committed and not followed.records:
            self._note("following", path, site=followed.site, sensor=followed.sensor)
        if len(self._open) > MAX_OPEN:
            self._release(followed)

    def _ensure_open(self, followed: Followed) -> bool:
        if followed.content is None and followed.key is not None:
            key = followed.key
            if not followed.opened():
                self._by_key.pop(key, None)
                self._lose_sight(followed)
                return False
            self._open.add(followed)
        return followed.content is not None

    def _release(self, followed: Followed) -> None:
        followed.release()
        self._open.discard(followed)

    def _lose_sight(self, followed: Followed) -> None:
        """It does not lie where it lay."""
        if followed.key is not None and self._by_key.get(followed.key) is followed:
            del self._by_key[followed.key]
        self._known.remove(followed)
        followed.detach()
        self._open.discard(followed)
        self._known.add(followed)

    def _drop(self, followed: Followed) -> None:
        """Know nothing of it any more."""
        self._lose_sight(followed)
        self._known.remove(followed)
        self._files.pop(followed.number, None)
        chain = self.chains.get(followed.live)
        if chain is not None and followed in chain.files:
            chain.files.remove(followed)

    def _stat(self, path: str) -> os.stat_result | None:
        try:
            return os.stat(path)  # noqa: PTH116 - once a second and file, and a Path costs as much
        except FileNotFoundError:
            return None
        except OSError as error:
            self._refused_by_the_system(path, error)
            return None

    def _opened(self, path: str) -> Content | None:
        try:
            return open_content(path)
        except FileNotFoundError:
            return None
        except OSError as error:
            self._refused_by_the_system(path, error)
            return None

    def _refused_by_the_system(self, path: str, error: OSError) -> None:
        """Say it once, not every second; and again where the reason is another."""
        if len(self._refusals) > MAX_REFUSALS:
            self._refusals.clear()
        if self._refusals.get(path) != error.errno:
            self._refusals[path] = error.errno
            self._note("cannot be read", path, error=error.strerror)

    def _note(self, what: str, path: str, **facts: Any) -> None:
        self.events.append((what, {"path": path, **facts}))

    def _note_gap(self, what: str, followed: Followed) -> None:
        chain = self.chains.get(followed.live)
        later = [each.written_s for each in (chain.files if chain else ()) if each is not followed and each.written_s]
        self._note(
            what,
            followed.path,
            live=followed.live,
            from_byte=followed.offset,
            known_bytes=followed.size_bytes,
            records_sent=followed.records,
            written_after_s=followed.modified_us / 1e6,
            written_before_s=min(later, default=0.0),
        )
