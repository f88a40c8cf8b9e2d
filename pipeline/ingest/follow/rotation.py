"""Files that grow, are rotated, truncated, packed and deleted, as one row of records: each whole record once.

A file is known by its content (`identity.py`). The files that a live path has held form a chain: what it held before,
under other names now, then what it holds. Older ones are read to their end first. What a follower that was away has
missed is found among the rotated names (`names.py`): files that were written later than what was read last, and whose
content is not known.
"""

import math
import time
from collections.abc import Iterable, Mapping
from heapq import heapify, heappop, heappush
from stat import S_ISREG

from pipeline.errors import Failed
from pipeline.ingest.follow.chain import Batch, Chain
from pipeline.ingest.follow.content import Content
from pipeline.ingest.follow.identity import Identity
from pipeline.ingest.follow.names import FileSource, live_paths, rotated_names
from pipeline.ingest.follow.position import HEAD_BYTES, FilePosition
from pipeline.ingest.follow.records import Run
from pipeline.ingest.follow.registry import MAX_OPEN, FileRegistry
from pipeline.ingest.follow.tail import PIECE_BYTES, Followed, State

# A file that was written so long ago is not being copied any more.
SETTLED_S = 2.0
# For a file that is not settled, the newer ones of its chain wait at most so long.
HOLD_S = 10.0
# A writer goes on for a moment in the file that was renamed under it, until it is told to open another.
ROTATED_IDLE_S = 10.0
# A large file takes minutes to be packed, and lies under no name that is looked at meanwhile.
LOST_AFTER_S = 600.0
# While something is missing or not settled, the rotated names are looked through this often.
RESCAN_S = 5.0
RESCAN_ONCE_S = 0.5
# A file that came and was rotated between two looks leaves no other trace.
RESCAN_IDLE_S = 60.0
# A file that has less than was sent of it may be on its way back from a copy.
CUT_AFTER_S = 30.0
# Globs are matched this often, and never for more than a two-hundredth of the time.
GLOB_S = 1.0
GLOB_SHARE = 200.0
# More are refused: each costs memory for its first bytes, and a glance every second.
MAX_FILES = 20_000
MAX_LOOKED_AT = 50_000
# Positions of files that are done are retained for so long, so that a copy that appears is known: a month.
RETAIN_S = 31 * 86_400.0
RETIRE_EVERY_S = 60.0
# Where several files wait, they are read in turns of so many bytes, in order of their records' time: some dozen
# records, less than what a site's lateness bridges.
TURN_BYTES = 16_384


class FollowedFiles(FileRegistry):
    """All files of a follower. Time is passed in, in seconds of the wall clock, as files' times are.

    Parameters
    ----------
    once : wait for nothing that may still come: a file that is missing is lost at once
    """

    def __init__(self, sources: Iterable[FileSource], once: bool = False) -> None:
        super().__init__()
        self.sources = list(sources)
        self.once = once
        self._globbed_s, self._glob_every_s = 0.0, 0.0
        self._retired_s = 0.0
        self._started_s: float | None = None
        self._now_s = 0.0
        self._since_us: dict[str, int] = {}
        """Since when live paths are followed, also where that could not be committed yet."""

    # ---- positions

    def restore(self, positions: Mapping[int, FilePosition]) -> None:
        """Start from what is committed; files that are open stay so, and are read again from there."""
        for number, followed in list(self._files.items()):
            if number not in positions:
                followed.reset()
                followed.quiet_since_s = 0.0
                if followed.key is None:
                    self._drop(followed)
        for number, position in positions.items():
            followed = self._files.get(number) or Followed(number, position.live, position.site, position.sensor, None)
            if number not in self._files:
                followed.path, followed.rotated = position.path, True
                self._files[number] = followed
            followed.restore(position)
            self._known.add(followed)
        self._next_number = max(self._files, default=0) + 1
        self.chains.clear()
        self._looked_at.clear()
        self._globbed_s = 0.0

    def positions(self, now_s: float) -> list[FilePosition]:
        """The positions that have changed; of files of which nothing was ever sent there are none."""
        changed = [each for each in self._files.values() if each.changed and each.worth_committing]
        return [each.position(round(now_s * 1e6)) for each in changed]

    def committed(self, positions: Iterable[FilePosition]) -> None:
        """These are in Kafka, with the records before them: files that are done can go."""
        for position in positions:
            followed = self._files[position.number]
            followed.committed, followed.changed = position, False
            chain = self.chains.get(followed.live)
            if chain is not None:
                chain.newest_us = max(chain.newest_us, position.modified_us)
            if followed.done:
                self._finish(followed)
        for number in self.forgotten:
            if number in self._files:
                self._drop(self._files[number])
        self.forgotten = []

    @property
    def behind_bytes(self) -> int:
        """How much of the files that are open was not read, packed ones not counted."""
        plain = [each for each in self._open if each.content is not None and not each.content.packed]
        return sum(max(0, each.content.stat().st_size - each.offset) for each in plain if each.content is not None)

    @property
    def settled(self) -> bool:
        """Whether nothing is waited for: no file is missing or being copied."""
        return not any(chain.missing or chain.unsettled or chain.scan_due for chain in self.chains.values())

    # ---- looking

    def poll(self, now_s: float) -> None:
        """See what has become of the files; what is wrong with single ones is an event, never raised.

        Failed where the globs match more files than can be followed.
        """
        self._now_s = now_s
        if self._started_s is None:
            self._started_s = now_s
        if not 0 <= now_s - self._globbed_s < self._glob_every_s:
            self._match_globs(now_s)
        for chain in self.chains.values():
            self._visit(chain)
        every_s = RESCAN_ONCE_S if self.once else RESCAN_S
        for chain in self.chains.values():
            if now_s - chain.scanned_s >= RESCAN_IDLE_S:
                chain.want_scan()
            if chain.scan_due or ((chain.missing or chain.unsettled) and now_s - chain.scanned_s >= every_s):
                self._scan(chain, now_s)
            for followed in list(chain.files):
                self._see_whether_done(chain, followed, now_s)
        if not 0 <= now_s - self._retired_s < RETIRE_EVERY_S:
            self._retire(now_s)

    def _match_globs(self, now_s: float) -> None:
        began_s = time.perf_counter()
        live: dict[str, FileSource] = {}
        for source in self.sources:
            live |= {path: source for path in live_paths(source) if path not in live}
        if len(live) > MAX_FILES:
            raise Failed(f"got {len(live)} files to follow, expected at most {MAX_FILES}; name narrower globs")
        for path in [path for path, chain in self.chains.items() if path not in live and not chain.files]:
            del self.chains[path]
        new = {path: self._chain(path, source, now_s) for path, source in live.items() if path not in self.chains}
        for followed in self._files.values():
            chain = new.get(followed.live)
            if chain is not None:
                source = chain.source  # whose a file is may have been corrected since it was begun
                followed.site, followed.sensor, followed.content_type = source.site, source.sensor, source.content_type
                followed.time_zone, followed.lateness_us = source.time_zone, source.lateness_us
                chain.newest_us = max(chain.newest_us, followed.modified_us)
                chain.files += [] if followed.done else [followed]
        for chain in new.values():
            if not chain.newest_us and chain.live in chain.source.paths:
                self._begin(chain)
            chain.want_scan()
        self.chains |= new
        self._globbed_s = now_s
        self._glob_every_s = max(GLOB_S, GLOB_SHARE * (time.perf_counter() - began_s))

    def _chain(self, live: str, source: FileSource, now_s: float) -> Chain:
        if live not in self._since_us:
            stat = self._stat(live)
            self._since_us[live] = round(min(now_s, now_s if stat is None else stat.st_mtime) * 1e6)
        return Chain(live, source, self._since_us[live])

    def _begin(self, chain: Chain) -> None:
        """Have it committed that a path is followed from now on: what is rotated before anything was sent is ours."""
        marker = self._new(chain)
        marker.modified_us = chain.newest_us = chain.since_us
        marker.marks_begin = marker.done = marker.changed = marker.rotated = True

    def _visit(self, chain: Chain) -> None:
        """See what a live path holds now."""
        stat = self._stat(chain.live)
        if stat is None:
            self._rotate(chain)
            return
        known = self._by_key.get((stat.st_dev, stat.st_ino))
        if known is not None:
            known.path = chain.live
            if known.live == chain.live and chain.current is not known:
                self._rotate(chain)
                chain.current, known.rotated = known, False
            if not known.seen(stat):
                self._reopen(known)
            return
        self._rotate(chain)
        facts = (stat.st_ino, stat.st_size, stat.st_mtime_ns)
        # What is no file (a pipe, a device) has no size, and opening it says so.
        if (stat.st_size or not S_ISREG(stat.st_mode)) and self._looked_at.get(chain.live) != facts:
            content = self._opened(chain.live)
            if content is not None and self._may_be_whole_later(content):
                content.close()
            elif content is not None and not self._take_in_live(chain, content):
                self._note_unclear(chain, content)
                content.close()
                self._looked_at[chain.live] = facts

    def _may_be_whole_later(self, content: Content) -> bool:
        """Whether it is a known file cut short, and may still be on its way back: from a copy, say."""
        if self._known.identify(content)[0] is not Identity.CUT:
            return False
        return self._now_s - (self._started_s or 0.0) < (SETTLED_S if self.once else CUT_AFTER_S)

    def _take_in_live(self, chain: Chain, content: Content) -> bool:
        """Follow what a live path holds; False where it is a copy of what is followed, or may be one."""
        identity, followed = self._known.identify(content)
        if identity is Identity.CUT and followed is not None:
            self._note_gap("file without what was sent of it last", followed)
            followed.continue_in_cut(content)
        if identity is Identity.UNCLEAR or (followed is not None and self._lies_elsewhere(followed, chain.live)):
            return False
        if followed is None:
            chain.want_scan()  # others may have come and gone before this one
            followed = self._new(chain)
        elif followed.live != chain.live:
            self._move(followed, chain)
        whole = followed.done and not followed.has_less_than(content)
        self._attach(followed, chain.live, content)
        followed.rotated = followed.lost = False
        chain.current = followed
        if whole:
            followed.mark_seen(content.stat())
            self._release(followed)
        else:
            self._reopen(followed)
        return True

    def _note_unclear(self, chain: Chain, content: Content) -> None:
        """Say of a file that grows and is not read, because it begins as another, that nothing of it is sent."""
        if self._known.identify(content)[0] is not Identity.UNCLEAR or len(content.read(0, HEAD_BYTES)) < HEAD_BYTES:
            chain.unclear_since_s = math.inf
        elif self._now_s - chain.unclear_since_s >= CUT_AFTER_S and not chain.unclear_said:
            chain.unclear_said = True
            self._note("begins as another file and goes on differently", chain.live, known_bytes=content.stat().st_size)
        else:
            chain.unclear_since_s = min(chain.unclear_since_s, self._now_s)

    def _lies_elsewhere(self, followed: Followed, live: str) -> bool:
        """Whether a file that is followed lies under another live path too."""
        if followed.key is None or followed.path == live or followed.path not in self.chains:
            return False
        stat = self._stat(followed.path)
        return stat is not None and (stat.st_dev, stat.st_ino) == followed.key

    def _rotate(self, chain: Chain) -> None:
        """The live path no longer holds what it did."""
        if chain.current is not None:
            chain.want_scan()
            chain.current.rotated = True
            chain.current = None

    # ---- what rotation left

    def _scan(self, chain: Chain, now_s: float) -> None:
        """Look through the rotated names for files that are missing, and for whole ones that were missed."""
        chain.scan_due, chain.scanned_s = False, now_s
        after_us = chain.after_us if chain.after_us is not None else chain.since_us
        was_settled, unsettled = not chain.unsettled, dict[str, float]()
        if len(self._looked_at) > MAX_LOOKED_AT:
            self._looked_at.clear()
        for path in dict.fromkeys(rotated_names(chain.live, chain.source)):
            stat = None if path in self.chains else self._stat(path)
            if stat is None or not stat.st_size:
                continue
            known = self._by_key.get((stat.st_dev, stat.st_ino))
            if known is not None:
                known.path = path
                continue
            facts = (stat.st_ino, stat.st_size, stat.st_mtime_ns)
            if stat.st_mtime_ns // 1_000 < after_us or self._looked_at.get(path) == facts:
                continue
            if self._take_in_rotated(path, chain, abs(now_s - stat.st_mtime) >= SETTLED_S):
                self._looked_at[path] = facts
            else:
                unsettled[path] = stat.st_mtime
        chain.unsettled = unsettled
        if unsettled and was_settled:
            chain.held_since_s = now_s
        if not unsettled and not chain.missing:
            chain.after_us = None

    def _take_in_rotated(self, path: str, chain: Chain, settled: bool) -> bool:
        """Follow a rotated file if it is a missing or a new one; False where that cannot be said yet."""
        content = self._opened(path)
        if content is None:
            return True
        identity, followed = self._known.identify(content)
        if identity is Identity.NEW and settled:
            followed = self._new(chain)
            followed.modified_us = chain.after_us or 0
        elif identity is Identity.CUT or (followed is not None and not self._is_wanted(followed, content)):
            followed = None
        if followed is None:
            content.close()
            return settled or identity is Identity.SAME
        self._attach(followed, path, content)
        followed.rotated, followed.lost = True, False
        self._reopen(followed)
        return True

    def _is_wanted(self, followed: Followed, content: Content) -> bool:
        """Whether a file is to be read on in this content: it lies nowhere else, or was deleted where it lay."""
        if followed.key is None:
            return not followed.done or followed.has_less_than(content)
        # Its name may have been given to a copy, which then went on growing.
        return followed.content is not None and not followed.content.stat().st_nlink and not followed.done

    def _replaced(self, followed: Followed) -> None:
        """Its bytes are gone from where they were: go on in a copy, which copytruncate has made, or give it up."""
        chain = self.chains.get(followed.live)
        if chain is not None and chain.current is followed:
            chain.current = None
        self._lose_sight(followed)
        if chain is not None:
            chain.want_scan()
        for path in rotated_names(followed.live, chain.source) if chain is not None else ():
            stat, content = self._stat(path), self._opened(path)
            if content is not None:
                if (
                    stat is not None
                    and followed.continues_in(content)
                    and (stat.st_dev, stat.st_ino) not in self._by_key
                ):
                    self._attach(followed, path, content)
                    followed.rotated = True
                    return
                content.close()
        followed.done = followed.changed = followed.rotated = True
        self._note_gap("file truncated, and no copy of what it held", followed)

    # ---- the end of files

    def _see_whether_done(self, chain: Chain, followed: Followed, now_s: float) -> None:
        """Files that nobody writes to any more are done; what is missing for long is lost."""
        if followed.done:
            if not followed.changed or not followed.worth_committing:
                self._finish(followed)
        elif followed.key is None:
            patience_s = SETTLED_S if self.once else LOST_AFTER_S
            replaced = chain.current is not None  # else a disk may not be mounted yet
            if followed.quiet_since_s and not chain.unsettled:
                followed.done = followed.changed = True  # deleted after all of it was read
            elif replaced and not followed.lost and now_s - (self._started_s or now_s) >= patience_s:
                followed.lost = followed.changed = True
                self._note_gap("file gone before its end was sent", followed)
        elif followed.rotated and followed.quiet_since_s and followed.content is not None:
            torn = followed.content.packed and not followed.content.complete
            if torn and now_s - followed.written_s > LOST_AFTER_S:
                self._note_gap("packed file ends too early", followed)
            elif torn or not (followed.final or followed.unrecognised):
                return
            followed.done = followed.changed = True
            if not followed.unrecognised:
                self._note("file finished", followed.path, live=followed.live, records=followed.records)

    def _finish(self, followed: Followed) -> None:
        """All of it is sent, and committed."""
        chain = self.chains.get(followed.live)
        if chain is not None and followed in chain.files:
            chain.files.remove(followed)
        self._release(followed)
        if followed.rotated:
            self._lose_sight(followed)
        if followed.committed is None:
            self._drop(followed)

    def _retire(self, now_s: float) -> None:
        """Delete the positions of files that are long gone; the newest of a live path says where to go on."""
        self._retired_s = now_s
        newest: dict[str, int] = {}
        for followed in self._files.values():
            newest[followed.live] = max(newest.get(followed.live, 0), followed.number)
        for followed in self._files.values():
            over = followed.committed is not None and now_s - followed.committed.committed_us / 1e6 > RETAIN_S
            if (
                over
                and (followed.done or followed.lost)
                and followed.key is None
                and followed.number != newest[followed.live]
            ):
                self.forgotten.append(followed.number)

    # ---- reading

    def read(self, now_s: float, most_bytes: int) -> Batch:
        """What is there to be sent, at most about `most_bytes`; empty where everything whole was read."""
        batch = Batch()
        waiting = [
            (first.clock_s, first.number, first, rest)
            for chain in self.chains.values()
            if (files := self._readable(chain, now_s))
            for first, rest in [(files[0], files[1:])]
        ]
        heapify(waiting)
        while waiting and batch.size_bytes < most_bytes:
            _, _, followed, rest = heappop(waiting)
            final = followed.rotated and (
                now_s - followed.written_s >= ROTATED_IDLE_S
                or (followed.quiet_since_s > 0 and now_s - followed.quiet_since_s >= ROTATED_IDLE_S)
            )
            state, runs = self._take(followed, TURN_BYTES if waiting else PIECE_BYTES, final)
            batch.runs += [(followed, run) for run in runs]
            batch.size_bytes += sum(len(record) for run in runs for record in run.records)
            if state is State.MORE or runs:
                followed.quiet_since_s = 0.0
            if state is State.MORE:
                heappush(waiting, (followed.clock_s, followed.number, followed, rest))
                continue
            if state is State.END and followed.key is not None:
                followed.quiet_since_s = followed.quiet_since_s or now_s
            if rest:
                heappush(waiting, (rest[0].clock_s, rest[0].number, rest[0], rest[1:]))
        return batch

    def _readable(self, chain: Chain, now_s: float) -> list[Followed]:
        """The files to read in now: older ones first; not the newest while an older one may be on its way."""
        held = bool(chain.unsettled) and 0 <= now_s - chain.held_since_s < HOLD_S
        until_s = min(chain.unsettled.values()) if held else math.inf
        return [
            each
            for each in chain.in_order()
            if not each.done
            and (each in self._open or each.rotated or not each.quiet_since_s)
            and not (held and each is chain.current)
            and each.written_s <= until_s
        ]

    def _take(self, followed: Followed, size: int, final: bool) -> tuple[State, list[Run]]:
        if not self._ensure_open(followed):
            return State.END, []
        was_unrecognised = followed.unrecognised
        try:
            state, runs = followed.take(size, final)
        except OSError as error:
            raise Failed(
                f"{followed.path}: got {error.strerror}, expected to read on; look at the disk, then start it again: "
                "it goes on where it stopped"
            ) from error
        if followed.unrecognised and not was_unrecognised and not followed.rotated:
            self._note("file of no known format", followed.path)
        if followed.content is not None:
            followed.written_s = followed.content.stat().st_mtime
        if state is State.REPLACED:
            self._replaced(followed)
        elif state is State.END and len(self._open) > MAX_OPEN:
            self._release(followed)
        return state, runs
