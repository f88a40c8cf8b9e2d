"""Where a replay from the topic starts: the last retained states from before what is asked for, or the topic's start.

Two states make a start point. Windows, retained by featurize at a position of `flows` before it released anything that
is asked for; and incidents, retained by alert at a message's number before they took in any of it, and not before the
windows'. Messages between the two go through the windows only: the incidents know them already.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from pipeline.alert.partition import restore as restore_incidents
from pipeline.errors import RefusedState
from pipeline.featurize.feature_set import FeatureSet
from pipeline.featurize.partition import restore as restore_windows
from pipeline.runtime.state import parts
from pipeline.runtime.state.replay_snapshots import RetainedSnapshot
from pipeline.runtime.state.store import Store
from pipeline.runtime.storage.location import StorageLike


@dataclass(frozen=True, slots=True)
class StartPoint:
    """Where one partition's replay starts.

    Parameters
    ----------
    partition : int
    position : int
        Offset of `flows`; of an archive 0.
    seq : int
        Number of the features message that comes of it.
    windows, incidents : str
        Digests of the states it starts with; "" where it starts with none.
    incidents_seq : int
        Messages with lower numbers are in the incidents already.
    reached_us : int or None
        Event time that the windows had reached; None where they start empty.
    """

    partition: int
    position: int
    seq: int = 0
    windows: str = ""
    incidents: str = ""
    incidents_seq: int = 0
    reached_us: int | None = None


class Wanted(NamedTuple):
    """What of a partition is to come out: flows that end at `from_us` or later, or come of offset `first` or later.

    own_incidents: the incidents are to be made anew, from `warmup_us` before on: a model was named, and the
    retained ones are another's.
    """

    from_us: int | None = None
    first: int | None = None
    own_incidents: bool = False
    warmup_us: int = 0

    @property
    def bounded(self) -> bool:
        """Whether anything is left out, so that the start may be later than the topic's first message."""
        return self.from_us is not None or self.first is not None


def start_points(
    windows: Sequence[RetainedSnapshot], incidents: Sequence[RetainedSnapshot], wanted: Wanted, oldest: int
) -> Iterator[tuple[RetainedSnapshot, RetainedSnapshot | None]]:
    """Pairs of retained states (newest first in both) that a replay may start with, the best first; none where only the
    topic's first message will do.

    oldest: the first offset that the topic still has.
    """
    if not wanted.bounded:
        return
    here = _before(windows, wanted, oldest)
    if wanted.first is not None:
        snapshots = [snapshot for snapshot in incidents if here and snapshot.seq <= here[0].seq]
    else:
        snapshots = [snapshot for snapshot in incidents if snapshot.reached_us < (wanted.from_us or 0)]
    if wanted.own_incidents:
        since_us = warm_us(windows, wanted, oldest)
        yield from ((snapshot, None) for snapshot in here if snapshot.reached_us < since_us)
    else:
        for known in snapshots:
            yield from ((snapshot, known) for snapshot in here if snapshot.seq <= known.seq)
    if oldest > 0:  # the topic's first message would be worse: incidents get as much of a past as there is
        yield from ((snapshot, None) for snapshot in reversed(here))


def _before(windows: Sequence[RetainedSnapshot], wanted: Wanted, oldest: int) -> list[RetainedSnapshot]:
    """Those from before anything that is asked for, and that the topic still continues."""
    here = [snapshot for snapshot in windows if snapshot.position >= oldest]
    if wanted.first is not None:
        return [snapshot for snapshot in here if snapshot.position <= (wanted.first or 0)]
    return [snapshot for snapshot in here if snapshot.reached_us < (wanted.from_us or 0)]


def warm_us(windows: Sequence[RetainedSnapshot], wanted: Wanted, oldest: int) -> int:
    """Event time from which on incidents are to be made anew: so long before what is asked for; of offsets, before
    what the last windows at or before the first one had reached.
    """
    if wanted.from_us is not None:
        return wanted.from_us - wanted.warmup_us
    here = _before(windows, wanted, oldest)
    return (here[0].reached_us if here else 0) - wanted.warmup_us


class States:
    """The retained states of a partition, and the run's own folder that the chosen ones are copied to.

    Copied, they are there when a resumed run asks for them, however long that takes.
    """

    def __init__(self, state_uri: StorageLike, partition: int, run_store: Store, feature_set: FeatureSet) -> None:
        self._state_uri, self._partition = state_uri, partition
        self._run_store, self._feature_set = run_store, feature_set
        self._refused: dict[str, str] = {}

    @property
    def refused(self) -> list[str]:
        """Why states were passed over."""
        return list(self._refused.values())

    def start_point(
        self, windows: Sequence[RetainedSnapshot], incidents: Sequence[RetainedSnapshot], wanted: Wanted, oldest: int
    ) -> StartPoint:
        """The best start point whose states can be read; without one, the topic's first message, with nothing."""
        for snapshot, known in start_points(windows, incidents, wanted, oldest):
            if not (self._usable(snapshot) and (known is None or self._usable(known))):
                continue
            return StartPoint(
                self._partition,
                snapshot.position,
                snapshot.seq,
                snapshot.digest,
                known.digest if known else "",
                known.seq if known else snapshot.seq,
                snapshot.reached_us,
            )
        return StartPoint(self._partition, oldest)

    def _usable(self, entry: RetainedSnapshot) -> bool:
        """Whether a state is whole and ours to read; it is in the run's folder then."""
        if entry.digest in self._refused:
            return False
        source = Store(self._state_uri, f"{entry.stage}/{entry.partition}")
        try:
            for blob in source.get_many(entry.blobs):
                self._run_store.put(blob)
            rest, digests = parts.get(self._run_store, entry.digest)
            if entry.stage == "alert":
                restore_incidents(rest)
            else:
                restore_windows(
                    rest,
                    {name: self._run_store.get(part_digest) for name, part_digest in digests.items()},
                    self._feature_set,
                )
        except RefusedState as error:
            self._refused[entry.digest] = str(error)
            return False
        return True


def warning(
    start: StartPoint, end: int, wanted: Wanted, refused: Sequence[str], oldest: int = 0, since_us: int = 0
) -> str | None:
    """What has to be said of a start point: that something is missing before it; None where all is there.

    oldest: the first offset that the topic still has; since_us: warm_us, where incidents are made anew.
    """
    if 0 < end <= oldest:
        return f"partition {start.partition}: topic flows has lost all before offset {end}: nothing of it is left"
    if not 0 < start.position < end:
        return None
    if not start.windows:
        empty = "windows and incidents start empty there: features, scores and incidents"
    elif start.incidents or (wanted.own_incidents and (start.reached_us or 0) < since_us):
        return None
    else:
        empty = "incidents start empty there: incidents"
    why = f"; a retained state could not be used: {refused[0]}" if refused else ""
    return (
        f"partition {start.partition}: read from offset {start.position} of topic flows on, and no retained state "
        f"fits; {empty} soon after it differ from the live ones{why}"
    )
