"""Whatever becomes of the files and of the follower: each whole line is sent once."""

import os
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.contracts.raw import ZEEK_JSON
from pipeline.ingest.follow.names import FileSource
from pipeline.ingest.follow.rotation import FollowedFiles
from tests.ingest.follow.plant import Follower, Writer, source

FATES = ("commit", "commit", "commit", "die before", "die after", "lose session", "lose answer")


def play(folder: Path, schedule: list[tuple[str, int]]) -> tuple[Writer, Follower]:
    writer = Writer(folder / "logs" / "current" / "conn.log")
    follower = Follower(source(writer.live))
    follower.turn(writer.now_s)
    rotated: list[Path] = []
    for what, number in schedule:
        if what == "append":
            writer.append(number % 5 + 1, half=number % 3 == 0)
        elif what == "many":
            writer.append(100 + number)
        elif what == "rename":
            rotated += filter(None, [writer.rename(number % 3)])
        elif what == "copytruncate":
            rotated += filter(None, [writer.copy_and_truncate()])
        elif what == "pack" and rotated:
            writer.pack(rotated.pop(number % len(rotated)), folder / "logs" / "2026-11-28")
        elif what == "replace":
            writer.replace_by_copy()
        elif what == "wait":
            writer.now_s += number
        elif what == "turn":
            follower.turn(writer.now_s, FATES[number % len(FATES)], most_bytes=1 if number % 2 else 1 << 20)
    return writer, follower


STEPS = st.tuples(
    st.sampled_from(
        ("append", "append", "many", "rename", "copytruncate", "pack", "replace", "wait", "turn", "turn", "turn")
    ),
    st.integers(0, 20),
)


@pytest.mark.slow
@given(st.lists(STEPS, max_size=40))
def test_each_whole_line_is_sent_once(schedule: list[tuple[str, int]]) -> None:
    with TemporaryDirectory() as folder:
        writer, follower = play(Path(folder), schedule)
        follower.drain(writer)
        follower.check(writer)
        assert not follower.gaps


def test_a_path_is_of_the_first_source_that_fits(tmp_path: Path) -> None:
    writer = Writer(tmp_path / "current" / "conn.log")
    writer.append(3)
    first, second = source(tmp_path / "current" / "*.log"), replace(source(writer.live), sensor="other")
    files = FollowedFiles([first, second])
    files.poll(writer.now_s)
    [(followed, _)] = files.read(writer.now_s, 1 << 20).runs
    assert followed.sensor == "edge"


def test_a_source_that_was_corrected_holds_for_files_that_were_begun(tmp_path: Path) -> None:
    writer = Writer(tmp_path / "current" / "conn.log")
    writer.append(3)
    follower = Follower(source(writer.live))
    follower.turn(writer.now_s)
    writer.append(2)
    other = FileSource((str(tmp_path / "current" / "modbus.log"),), "plant", "edge", "zeek-modbus+json")
    files = FollowedFiles([replace(follower.source, sensor="gate"), replace(other, sensor="gate")])
    files.restore(follower.committed())
    files.poll(writer.now_s)
    [(followed, run)] = files.read(writer.now_s, 1 << 20).runs
    assert (followed.sensor, followed.content_type, len(run.records)) == ("gate", ZEEK_JSON, 2)


def test_a_file_that_begins_as_one_that_was_sent_and_grows_differently_is_said(tmp_path: Path) -> None:
    """As a log that was restored from a backup: what was sent of it is not known, and no loss is silent."""
    writer = Writer(tmp_path / "conn.log")
    follower = Follower(source(writer.live))
    writer.append(100)
    follower.drain(writer)
    restored = tmp_path / "restored"
    restored.write_bytes(b"".join(line + b"\n" for line in writer.whole[:60]))
    restored.replace(writer.live)
    for _minute in range(3):
        writer.append(30)
        writer.now_s += 60.0
        follower.turn(writer.now_s)
    assert [what for what, _ in follower.gaps] == ["begins as another file and goes on differently"]


def test_what_is_no_file_is_said_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "conn.log")
    files = FollowedFiles([source(tmp_path / "conn.log")])
    for second in range(3):
        files.poll(1_800_000_000.0 + 60 * second)
    assert [(what, facts["error"]) for what, facts in files.events] == [("cannot be read", "no regular file")]
