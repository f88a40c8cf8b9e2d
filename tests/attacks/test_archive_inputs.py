"""Names, clocks, sizes and messages meant to hurt the archive."""

import string
from dataclasses import replace
from pathlib import Path
from random import Random

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from pipeline.archive import manifest, snapshot
from pipeline.archive.pairing import Pairing, read_rejects, read_scored
from pipeline.archive.partition import PartitionArchive
from pipeline.archive.paths import escape, within
from pipeline.archive.streams import HOUR_US, Limits
from pipeline.archive.upkeep.verify import account, verify
from pipeline.errors import BadData, RefusedState, SequenceGap
from pipeline.tools.cli.archive import app
from tests.archive.chains import read_chain
from tests.archive.plant import T0_US, RawMessage, Record, feed, random_log, wire
from tests.contracts.facts import at

NAMES = [
    "../../etc",
    "/abs",
    "..",
    ".",
    "a/b",
    "a\\b",
    "nul\x00",
    "\x1b[31m",
    "x" * 128,
    "ü" * 64,
    "%2F",
    "~",
    "=",
    "CON",
    "a b",
    "’",
]


def archive(folder: Path, log: list[RawMessage], rows: int = 1000) -> list[manifest.ClosedFile]:
    feed(PartitionArchive(folder, 0, Limits(rows), "w"), wire(log, range(0, len(log), 5)), Random(1))
    proof = verify(folder, None)
    assert proof["problems"] == []
    return [entry for published in snapshot.read(folder) for entry in published.files]


def ended(log: list[RawMessage]) -> list[RawMessage]:
    return [
        *log,
        *(RawMessage(*sender, (), T0_US, mark=True) for sender in {(message.site, message.sensor) for message in log}),
    ]


@given(st.lists(st.text(max_size=300), min_size=2, max_size=6, unique=True))
def test_names_become_folders_of_their_own(names: list[str]) -> None:
    names = [name.encode("utf-8", "ignore").decode() for name in names]
    escaped = {name: escape(name) for name in names}
    assert len(set(escaped.values())) == len(set(names))
    for folder in escaped.values():
        assert 0 < len(folder) <= 120
        assert set(folder) <= set(string.ascii_letters + string.digits + "-_.%~")


def test_hostile_names_stay_inside_the_archive(tmp_path: Path) -> None:
    folder = tmp_path / "archive"
    log = ended([RawMessage(name, name[::-1], (Record(T0_US), Record(None)), T0_US) for name in NAMES])
    files = archive(folder, log)
    assert {row["site"] for row in account(folder)} == set(NAMES)
    assert [path.name for path in tmp_path.iterdir()] == ["archive"]
    for entry in files:
        assert (folder / entry.path).resolve().is_relative_to(folder.resolve())
        assert len(Path(entry.path).parts) == 6


def test_names_do_not_steer_a_terminal(tmp_path: Path) -> None:
    archive(tmp_path, ended([RawMessage("\x1b[31m[red]", "s\u202e", (Record(T0_US),), T0_US)]))
    shown = CliRunner().invoke(app, ["query", "--archive", str(tmp_path), "SELECT site, sensor FROM flows"])
    assert shown.exit_code == 0
    assert "\x1b" not in shown.stderr
    assert "\u202e" not in shown.stderr
    assert "[red]" in shown.stderr
    assert orjson.loads(shown.stdout)["rows"] == [["\x1b[31m[red]", "s\u202e"]]


@pytest.mark.slow
def test_a_jumping_clock_makes_no_file_a_late_row(tmp_path: Path) -> None:
    """Late rows of a thousand different hours: one file, not a thousand."""
    random = Random(2)
    records = [Record(T0_US + 5000 * HOUR_US)]
    records += [Record(T0_US + random.randrange(4000) * HOUR_US) for _ in range(1000)]
    files = archive(tmp_path, ended([RawMessage("s", "a", (record,), T0_US) for record in records]), rows=600)
    late = [entry for entry in files if entry.table == "late"]
    assert sum(entry.rows for entry in late) == 1000
    assert len(late) == 2
    assert all("hour=mixed" in entry.path for entry in late)


def test_jumping_send_times_make_no_file_a_reject(tmp_path: Path) -> None:
    log = [RawMessage("s", "a", (Record(None),), T0_US + (n % 2) * 50 * HOUR_US) for n in range(200)]
    files = archive(tmp_path, ended(log))
    assert len(files) <= 2


@pytest.mark.parametrize("sent_us", [-1_000, 0, 2**62])
def test_absurd_send_times(tmp_path: Path, sent_us: int) -> None:
    assert archive(tmp_path, ended([RawMessage("s", "a", (Record(None),), sent_us)]))[0].rows == 1


def test_huge_strings_close_a_file_early_and_everywhere_alike(tmp_path: Path) -> None:
    log = ended([RawMessage("s", "a", (Record(T0_US, "x" * 30_000),), T0_US) for _ in range(40)])
    written = []
    for name, cuts in (("a", []), ("b", range(0, 40, 3))):
        folder = tmp_path / name
        feed(PartitionArchive(folder, 0, Limits(1000, bytes=200_000), "w"), wire(log, cuts), Random(1))
        written.append({entry.path: entry.sha256 for published in snapshot.read(folder) for entry in published.files})
    assert written[0] == written[1]
    assert len(written[0]) == 6


@pytest.mark.parametrize("path", ["../../etc/passwd", "/etc/passwd", "flows/../../x", "", ".", "flows//x", "./flows/x"])
def test_a_manifest_cannot_lead_out_of_the_archive(tmp_path: Path, path: str) -> None:
    with pytest.raises(RefusedState, match="inside the archive"):
        within(path)
    log = random_log(Random(1), 10, (("s", "a"),))
    archive(tmp_path, log)
    chain = read_chain(tmp_path, 0).manifests
    at = next(number for number, link in enumerate(chain) if link.files)
    forged = replace(chain[at], files=(replace(chain[at].files[0], path=path),))
    (tmp_path / "_manifests" / "p0" / f"{at:010d}.json").write_bytes(forged.encode())
    assert not verify(tmp_path, None)["ok"]


@given(st.binary(max_size=200))
def test_bytes_that_are_no_message(payload: bytes) -> None:
    for read in (read_scored, read_rejects):
        with pytest.raises(BadData, match=r"archive\[0\]@7: "):
            read(payload, at("archive", offset=7))


def test_topics_that_do_not_belong_together() -> None:
    log = random_log(Random(1), 40, (("s", "a"),))
    topics = wire(log, range(0, 40, 2), split_rejects=1)
    pairing = Pairing(0, manifest.Progress())
    for offset, value in enumerate(topics.archive):
        pairing.offer_scored(read_scored(value, at("archive", offset=offset)))
    with pytest.raises(SequenceGap, match="do not belong together"):
        for offset, value in list(enumerate(topics.rejects))[1:]:
            pairing.offer_rejects(offset, read_rejects(value, at("rejects", offset=offset)))
            while pairing.next() is not None:
                pass


def test_a_missing_message_is_a_gap() -> None:
    log = random_log(Random(1), 40, (("s", "a"),))
    topics = wire(log, range(0, 40, 2))
    pairing = Pairing(0, manifest.Progress())
    for offset, value in enumerate(topics.rejects):
        pairing.offer_rejects(offset, read_rejects(value, at("rejects", offset=offset)))
    pairing.offer_scored(read_scored(topics.archive[0], at("archive", offset=0)))
    pairing.offer_scored(read_scored(topics.archive[2], at("archive", offset=2)))
    assert pairing.next() is not None
    with pytest.raises(SequenceGap, match="expected 1"):
        pairing.next()
