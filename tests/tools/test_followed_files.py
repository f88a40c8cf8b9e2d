"""How many records a follower sent of a file within a time, from what it has committed."""

from dataclasses import replace

from pipeline.ingest.follow.position import FilePosition, digest
from pipeline.tools.followed_files import SentHistory

NONE = digest(b"")
FIRST = FilePosition(
    1, "/a", "/a", 1, 2, 0, NONE, 0, NONE, 0, False, 0, 0, 0, 0, False, False, "dam", "gate"
)  # fmt: skip


def at(committed_us: int, records: int) -> FilePosition:
    return replace(FIRST, committed_us=committed_us, records=records)


def test_records_since_then_are_counted_and_earlier_ones_are_not() -> None:
    history = SentHistory(100)
    for position in (at(50, 1_000), at(90, 2_000), at(110, 2_010), at(120, 2_030)):
        history.add(1, position)
    assert history.sent[1] == 30 and history.last[1].records == 2_030


def test_when_records_were_sent_last_is_not_when_a_position_was_written_last() -> None:
    history = SentHistory(100)
    for position in (at(50, 1_000), at(60, 1_001), replace(at(90, 1_001), done=True)):
        history.add(1, position)
    assert (history.sent_us, history.last[1].committed_us) == ({1: 60}, 90)
    history.add(1, None)
    assert history.sent_us == {}


def test_what_is_not_known_is_not_counted() -> None:
    history = SentHistory(100)
    history.add(1, at(110, 5_000))  # the position before may be compacted away
    history.add(1, at(120, 5_007))
    history.add(2, at(110, 50))
    history.add(2, at(120, 10))  # the file was truncated
    history.add(3, at(120, 1))
    history.add(3, None)
    assert history.sent == {1: 7, 2: 0} and set(history.last) == {1, 2}
