"""Replays that start with retained states: the results are those of live, to the bit, wherever they start."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import RefusedModel
from pipeline.errors import Usage
from pipeline.featurize.baseline.judge import COLUMNS
from pipeline.featurize.partition import advance_partition
from pipeline.runtime.state.replay_snapshots import RetainedSnapshot, SnapshotCatalog
from pipeline.settings import Settings
from pipeline.tools.alerts.lines import is_notice
from pipeline.tools.replay import partition_replay as parts
from pipeline.tools.replay import reference_run, states
from pipeline.tools.replay import run as runs
from pipeline.tools.replay.compare import LIVE, compare
from pipeline.tools.replay.request import TOPIC, Request
from pipeline.tools.replay.scoring import Scoring
from pipeline.tools.replay.start_points import StartPoint, Wanted, start_points, warm_us, warning
from tests.tools.replay.plant import START_US, raw_log, settings_in
from tests.tools.replay.test_archive_source import incidents_in, rows_of
from tests.tools.replay.topic import Live, as_kafka, flows_of, went

pytestmark = pytest.mark.slow  # whole replays

SAME = (
    *("features", "score", "class", "novelty", "p_value", "suspect", "model", "late_by_us", "end_ts_us", "record_id"),
    *COLUMNS,
)
# The plant's second half lies after its first, with an end of source between.
BEFORE_US, MIDDLE_US, LATE_US = START_US - 1, START_US + 25_000_000, START_US + 45_000_000


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> tuple[Settings, Live]:
    settings = settings_in(tmp_path_factory.mktemp("plant"), flows_rows=40)
    live = flows_of(settings, raw_log(), 50)
    with pytest.MonkeyPatch.context() as patched:
        as_kafka(patched, {0: live})
        went(settings, live, Scoring(settings, Request("live", TOPIC), 1))
    return settings, live


@pytest.fixture
def fresh(plant: tuple[Settings, Live], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Settings, Live]:
    """The same history, with replays of the test's own."""
    live = replace(plant[1])
    as_kafka(monkeypatch, {0: live})
    monkeypatch.setattr(parts, "BATCH_ROWS", 100)
    monkeypatch.setattr(parts, "CHUNK_ROWS", 300)
    return plant[0].model_copy(update={"replay_uri": tmp_path}), live


def expected_rows(live: Live, from_us: int) -> pa.Table:
    table = pa.Table.from_batches([batch for batch in live.scored if len(batch)]).combine_chunks()
    table = table.filter(pa.array(table.column("end_ts_us").to_numpy() >= from_us))
    return table.sort_by([(name, "ascending") for name in ("raw_partition", "raw_offset", "raw_index")])


def expected_incidents(live: Live, from_us: int) -> dict[str, Any]:
    return {
        uid: reference_run.content(orjson.dumps(event))
        for uid, event in live.events.items()
        if not is_notice(event) and event["unmapped"]["last_ts_us"] >= from_us
    }


def same_as_live(settings: Settings, live: Live, run: str, from_us: int) -> None:
    result, expected = rows_of(settings.replay_uri / run), expected_rows(live, from_us)
    for name in SAME:
        assert result.column(name).to_pylist() == expected.column(name).to_pylist(), name
    assert incidents_in(settings.replay_uri / run) == expected_incidents(live, from_us)


def test_the_history_is_worth_beginning_in(plant: tuple[Settings, Live]) -> None:
    settings, live = plant
    retained = {name: SnapshotCatalog(settings.state_uri, name, 0).all() for name in (settings.topics.flows,)}
    assert len(retained[settings.topics.flows]) > 8
    times = [event["unmapped"]["last_ts_us"] for event in live.events.values()]
    assert min(times) < LATE_US < max(times)
    assert expected_incidents(live, LATE_US) and len(expected_incidents(live, LATE_US)) < len(live.events)


@pytest.mark.parametrize(
    "from_us",
    [
        pytest.param(BEFORE_US, marks=pytest.mark.nightly),
        MIDDLE_US,
        pytest.param(LATE_US, marks=pytest.mark.nightly),
        LATE_US + 2_000_000,
    ],
)
def test_what_comes_out_is_what_was_live(fresh: tuple[Settings, Live], from_us: int) -> None:
    settings, live = fresh
    report = runs.run(settings, Request("r", TOPIC, from_us=from_us))
    [start] = report["began"]
    assert (start["position"] > 0) == bool(start["windows"]) == bool(start["incidents"]) == (from_us > BEFORE_US)
    assert report["warnings"] == []
    same_as_live(settings, live, "r", from_us)
    whole = runs.run(settings, Request("whole", TOPIC, from_us=from_us, states=False))
    assert whole["began"][0]["position"] == 0
    assert (whole["rows"], whole["incidents_sha256"]) == (report["rows"], report["incidents_sha256"])
    assert whole["taken"] > report["taken"] or from_us == BEFORE_US
    same_as_live(settings, live, "whole", from_us)


def test_what_the_topic_no_longer_holds_is_not_needed(fresh: tuple[Settings, Live]) -> None:
    settings, live = fresh
    first = runs.run(settings, Request("first", TOPIC, from_us=LATE_US))
    live.first = first["began"][0]["position"]
    again = runs.run(settings, Request("again", TOPIC, from_us=LATE_US))
    for figure in ("began", "taken", "rows_sha256", "incidents_sha256", "warnings"):
        assert again[figure] == first[figure], figure
    live.first += 1
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(SnapshotCatalog, "of", lambda _self, _id: [])
        warned: list[str] = []
        without = runs.run(settings, Request("without", TOPIC, from_us=LATE_US), warn=warned.append)
    assert without["warnings"] == warned and "start empty" in warned[0]
    assert without["began"][0]["windows"] == ""


@pytest.mark.parametrize(
    "message", [1, pytest.param(9, marks=pytest.mark.nightly), 17, pytest.param(30, marks=pytest.mark.nightly)]
)
def test_offsets_begin_with_a_state_at_or_before_the_first(fresh: tuple[Settings, Live], message: int) -> None:
    settings, live = fresh
    first, end = live.steps[message].position, live.steps[-2].position
    asked = Request("r", TOPIC, offsets=((0, first, end),))
    report = runs.run(settings, asked)
    whole = runs.run(settings, replace(asked, run="whole", states=False))
    assert 0 < report["began"][0]["position"] <= first or message < 3
    assert report["incidents_sha256"] == whole["incidents_sha256"]
    assert rows_of(settings.replay_uri / "r").equals(rows_of(settings.replay_uri / "whole"))


def test_a_named_model_makes_its_own_incidents_from_a_warm_up_on(fresh: tuple[Settings, Live]) -> None:
    settings, live = fresh
    near = Request("near", TOPIC, from_us=LATE_US, model="shipped", warmup_us=15_000_000)
    report = runs.run(settings, near)
    [start] = report["began"]
    assert start["windows"] and not start["incidents"] and start["seq"] == start["incidents_seq"]
    assert start["reached_us"] < LATE_US - near.warmup_us
    assert report["warnings"] == []
    result, expected = rows_of(settings.replay_uri / "near"), expected_rows(live, LATE_US)
    assert result.column("score").to_pylist() == expected.column("score").to_pylist()
    # Nothing is retained from before such a warm-up: the topic's start.
    far = runs.run(settings, Request("far", TOPIC, from_us=LATE_US, model="shipped"))
    assert far["began"][0]["position"] == 0
    same_as_live(settings, live, "far", LATE_US)


def test_a_state_that_is_not_whole_is_passed_over(fresh: tuple[Settings, Live], tmp_path: Path) -> None:
    settings, live = fresh
    good = runs.run(settings, Request("good", TOPIC, from_us=LATE_US))["began"][0]
    taken = (Path(settings.state_uri) / "featurize" / "0" / good["windows"]).rename(tmp_path / "taken")
    try:
        other = runs.run(settings, Request("other", TOPIC, from_us=LATE_US))
        assert 0 < other["began"][0]["position"] < good["position"]
        assert not all(state["whole"] for state in states.listed(settings))
    finally:
        taken.rename(Path(settings.state_uri) / "featurize" / "0" / good["windows"])
    same_as_live(settings, live, "other", LATE_US)
    # With another feature set than they were retained for, none fits.
    full = settings.model_copy(update={"feature_set": "full"})
    request = states.with_start_points(
        full, Request("full", TOPIC, from_us=LATE_US, ends=((0, live.end),)), tmp_path / "full"
    )
    assert request.began == (StartPoint(0, 0),)


@pytest.mark.parametrize("step", [5, pytest.param(2, marks=pytest.mark.nightly)])
def test_a_resumed_run_begins_where_the_first_did(
    fresh: tuple[Settings, Live], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, step: int
) -> None:
    settings, _ = fresh
    whole = runs.run(settings, Request("whole", TOPIC, from_us=MIDDLE_US))
    true_write = parts._write
    writes = sum(1 for path in (settings.replay_uri / "whole").rglob("*") if path.is_file())
    for dies_after in range(0, writes, step):
        name, left = f"killed-{dies_after}", [dies_after]

        def write(path: Path, data: bytes, left: list[int] = left) -> str:
            left[0] -= 1
            if left[0] < 0:
                raise KeyboardInterrupt
            return true_write(path, data)

        with monkeypatch.context() as patched:
            patched.setattr(parts, "_write", write)
            patched.setattr(runs, "_write", write)
            try:
                runs.run(settings, Request(name, TOPIC, from_us=MIDDLE_US))
            except KeyboardInterrupt:
                assert left[0] < 0
        # The states it started with are its own by now.
        later = settings.model_copy(update={"state_uri": tmp_path / "gone"}) if dies_after else settings
        again = runs.run(later, Request(name, TOPIC, from_us=MIDDLE_US))
        for figure in ("rows_sha256", "incidents_sha256", "began", "taken", "rows"):
            assert again[figure] == whole[figure], (dies_after, figure)


def test_a_partition_that_is_done_is_left_alone_by_a_resumed_run(
    fresh: tuple[Settings, Live], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, live = fresh
    as_kafka(monkeypatch, {0: live, 1: live})
    monkeypatch.setattr(parts, "CHUNK_ROWS", 10**6)  # one chunk: it is done with the states it started with
    request = Request("r", TOPIC, from_us=LATE_US)
    true_write = parts._write

    def write(path: Path, data: bytes) -> str:
        if path.name.startswith("p1"):
            raise KeyboardInterrupt
        return true_write(path, data)

    with monkeypatch.context() as patched:
        patched.setattr(parts, "_write", write)
        with pytest.raises(KeyboardInterrupt):
            runs.run(settings, request)
    done = orjson.loads((settings.replay_uri / "r" / "p0.json").read_bytes())
    assert done["done"] and not done["windows"]
    report = runs.run(settings, request)
    assert report["began"][0]["windows"] and report["taken"] > done["taken"]


def test_messages_bound_a_chunk_as_rows_do(fresh: tuple[Settings, Live], monkeypatch: pytest.MonkeyPatch) -> None:
    settings, _ = fresh
    whole = runs.run(settings, Request("whole", TOPIC))
    monkeypatch.setattr(parts, "CHUNK_ROWS", 10**6)
    monkeypatch.setattr(parts, "BATCH_ROWS", 10**6)
    monkeypatch.setattr(parts, "CHUNK_MESSAGES", 7)
    monkeypatch.setattr(parts, "BATCH_MESSAGES", 3)
    few = runs.run(settings, Request("few", TOPIC))
    head = orjson.loads((settings.replay_uri / "few" / "p0.json").read_bytes())
    assert len(head["chunks"]) > 3
    assert (few["rows"], few["incidents_sha256"]) == (whole["rows"], whole["incidents_sha256"])
    assert rows_of(settings.replay_uri / "few").equals(rows_of(settings.replay_uri / "whole"))


def test_every_message_must_have_the_models_features(
    fresh: tuple[Settings, Live], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, _ = fresh
    monkeypatch.setattr(parts, "BATCH_ROWS", 10**6)

    def advance(windows: Any, *rest: Any) -> Any:
        after, messages = advance_partition(windows, *rest)
        return after, [
            made._replace(facts=replace(made.facts, feature_hash="another")) if made.facts.seq == 5 else made
            for made in messages
        ]

    monkeypatch.setattr(parts, "advance_windows", advance)
    with pytest.raises(RefusedModel, match="another"):
        runs.run(settings, Request("r", TOPIC))


def test_offsets_that_are_not_there_are_refused(fresh: tuple[Settings, Live]) -> None:
    settings, live = fresh
    for run, offsets in (("absent", (7, 0, 5)), ("beyond", (0, live.end, live.end + 5))):
        with pytest.raises(Usage, match="--offsets"):
            runs.run(settings, Request(run, TOPIC, offsets=(offsets,)))
    live.first = live.steps[4].position
    with pytest.raises(Usage, match=f"from {live.first} on, below {live.end}"):
        runs.run(settings, Request("below", TOPIC, offsets=((0, 0, live.first),)))


def test_runs_of_other_offsets_are_not_compared(fresh: tuple[Settings, Live]) -> None:
    settings, live = fresh
    some = ((0, live.steps[3].position, live.steps[9].position),)
    for run in ("a", "b"):
        runs.run(settings, Request(run, TOPIC, offsets=some))
    result = compare(settings, "a", "b")
    assert result["flows"]["both"] == result["first"]["rows"] > 0
    with pytest.raises(Usage, match="--offsets"):
        compare(settings, LIVE, "a")


def snapshot_at(position: int, seq: int, reached_us: int) -> RetainedSnapshot:
    return RetainedSnapshot("r", "t", "id", 0, position, seq, reached_us, f"d{position}", ())


ENTRIES = st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(0, 9)), max_size=8)


def growing(steps: list[tuple[int, int, int]]) -> list[RetainedSnapshot]:
    """Entries of a log: position, seq and event time only grow; newest first."""
    result, at = [], (0, 0, 0)
    for step in steps:
        at = tuple(mine + more for mine, more in zip(at, step, strict=True))  # type: ignore[assignment]
        result.append(snapshot_at(*at))
    return result[::-1]


@given(ENTRIES, ENTRIES, st.integers(0, 40), st.integers(0, 40), st.booleans())
def test_no_start_point_lies_after_what_is_asked_for(
    windows: list[tuple[int, int, int]], incidents: list[tuple[int, int, int]], at: int, oldest: int, by_time: bool
) -> None:
    wanted = Wanted(at) if by_time else Wanted(first=at)
    pairs = list(start_points(growing(windows), growing(incidents), wanted, oldest))
    for windows_state, known in pairs:
        assert windows_state.position >= oldest
        assert windows_state.reached_us < at if by_time else windows_state.position <= at
        if known is not None:
            assert windows_state.seq <= known.seq
            assert known.reached_us < at or not by_time
        else:
            assert oldest > 0
    assert list(start_points(growing(windows), growing(incidents), Wanted(), oldest)) == []


def test_what_is_missing_is_said() -> None:
    assert warning(StartPoint(0, 0), 9, Wanted(5), []) is None
    assert warning(StartPoint(0, 9), 9, Wanted(5), []) is None
    assert warning(StartPoint(0, 4, 2, "w", "i", 3, 1), 9, Wanted(5), []) is None
    assert "windows and incidents start empty" in (warning(StartPoint(0, 4), 9, Wanted(5), ["damaged"]) or "")
    assert "damaged" in (warning(StartPoint(0, 4), 9, Wanted(5), ["damaged"]) or "")
    only_windows = StartPoint(0, 4, 2, "w", "", 2, 1)
    assert "; incidents start empty" in (warning(only_windows, 9, Wanted(5), []) or "")
    for asked, silent in ((Wanted(5, None, True, 3), True), (Wanted(5, None, True, 4), False)):
        assert (warning(only_windows, 9, asked, [], 0, warm_us([], asked, 0)) is None) == silent
    assert warning(StartPoint(0, 0), 0, Wanted(5), [], 0) is None
    assert "nothing of it is left" in (warning(StartPoint(0, 9), 9, Wanted(5), [], 9) or "")


def test_a_named_model_and_offsets_warn_only_of_what_is_missing() -> None:
    windows = [snapshot_at(30, 3, 300), snapshot_at(20, 2, 200), snapshot_at(10, 1, 100)]
    wanted = Wanted(first=25, own_incidents=True, warmup_us=50)
    assert warm_us(windows, wanted, 0) == 150
    [(snapshot, _)] = start_points(windows, [], wanted, 0)
    start = StartPoint(0, snapshot.position, snapshot.seq, snapshot.digest, "", snapshot.seq, snapshot.reached_us)
    assert start.position == 10 and warning(start, 99, wanted, [], 0, 150) is None
    short = replace(start, position=20, reached_us=200)
    assert warning(short, 99, wanted, [], 0, 150) is not None


def test_a_retained_state_purged_while_they_are_listed_is_left_out(
    plant: tuple[Settings, Live], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SnapshotCatalog, "_file", lambda _self, _entry: "nowhere")
    assert states.listed(plant[0]) == []


def test_retained_states_are_listed(plant: tuple[Settings, Live]) -> None:
    result = states.listed(plant[0])
    assert {state["room"] for state in result} == {"featurize", "alert"}
    assert all(state["whole"] and state["bytes"] >= state["alone"] > 0 and state["age_s"] < 3600 for state in result)
