"""Rejects counted and shown: exact, bounded, and harmless to a terminal."""

import io
import json
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from pipeline.errors import Usage
from pipeline.tools.cli.rejects import since_us
from pipeline.tools.cli.table import table
from pipeline.tools.rejects import summary as summaries
from pipeline.tools.rejects.lines import advice, document, group_rows, line, summary_document
from pipeline.tools.rejects.summary import Filter, Group, Summary, matching
from schemas.fields import arrow_schema

HOSTILE = "\x1b]0;owned\x07\n\u202e[bold red]x[/]"


def reject(number: int = 0, **values: Any) -> dict[str, Any]:
    return {
        "raw_partition": 0,
        "raw_offset": number,
        "raw_index": 0,
        "site": "dam",
        "sensor": "gate",
        "ingest_ts_us": 1_700_000_000_000_000 + number,
        "content_type": "zeek-conn+json",
        "reason": "not_json",
        "detail": f"raw[0]@{number}/0: got 6 bytes 'broken'",
        "record": b"broken",
        "record_size": 6,
        **values,
    }


def batch(rows: list[dict[str, Any]]) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist(rows, schema=arrow_schema("reject"))


@given(
    st.lists(
        st.lists(
            st.tuples(st.sampled_from("ab"), st.sampled_from(["time", "address"]), st.integers(0, 20)), max_size=6
        ),
        max_size=8,
    ),
    st.integers(0, 5),
)
def test_counts_and_last_records_are_those_of_all_records(
    messages: list[list[tuple[str, str, int]]], limit: int
) -> None:
    summary = Summary(limit)
    rows = []
    for offset, message in enumerate(messages):
        made = [
            reject(offset, raw_index=index, sensor=sensor, reason=reason, ingest_ts_us=time_us, detail=f"{time_us}")
            for index, (sensor, reason, time_us) in enumerate(message)
        ]
        rows += made
        summary.add(batch(made))
    assert summary.rejects == len(rows) and summary.others == 0
    for group in summary.groups():
        alike = [row for row in rows if (row["sensor"], row["reason"]) == (group.sensor, group.reason)]
        times = [row["ingest_ts_us"] for row in alike]
        assert (group.count, group.first_us, group.last_us) == (len(alike), min(times), max(times))
    assert sum(group.count for group in summary.groups()) == len(rows)
    order = ["ingest_ts_us", "raw_partition", "raw_offset", "raw_index"]
    ordered = sorted([row[name] for name in order] for row in rows)
    assert [[row[name] for name in order] for row in summary.last()] == ordered[len(ordered) - min(limit, len(rows)) :]


def test_made_up_sensors_beyond_a_bound_are_one_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(summaries, "MAX_GROUPS", 3)
    summary = Summary(2)
    summary.add(batch([reject(number, sensor=f"s{number}") for number in range(10)]))
    summary.add(batch([reject(11, sensor="s1"), reject(12, sensor="s9")]))
    assert (summary.rejects, len(summary.groups()), summary.others) == (12, 3, 8)
    assert [group.sensor for group in summary.groups()] == ["s1", "s0", "s2"]


def test_only_what_is_asked_for() -> None:
    rows = batch([reject(0), reject(1, site="mill"), reject(2, sensor="weir"), reject(3, reason="time")])

    def offsets(wanted: Filter) -> list[int]:
        return matching(rows, wanted)["raw_offset"].to_pylist()  # type: ignore[no-any-return]

    assert offsets(Filter()) == [0, 1, 2, 3]
    assert offsets(Filter(site="mill")) == [1]
    assert offsets(Filter(sensor="weir")) == [2]
    assert offsets(Filter(reason="time")) == [3]
    assert offsets(Filter(since_us=1_700_000_000_000_002)) == [2, 3]


def test_a_line_says_when_who_why_and_what() -> None:
    assert line(reject(7)) == "2023-11-14 22:13:20 dam/gate not_json: raw[0]@7/0: got 6 bytes 'broken': broken"
    assert line(reject(site="", sensor="", ingest_ts_us=-(1 << 62))).startswith("-4611686018427387904 -/- not_json")


def test_nothing_of_a_record_steers_the_terminal_and_nothing_is_markup() -> None:
    hostile = reject(site=HOSTILE, sensor=HOSTILE, reason=HOSTILE, detail=HOSTILE, record=HOSTILE.encode() + b"\xff")
    assert line(hostile).isprintable() and "[bold red]x[/]" in line(hostile)
    summary = Summary(1)
    summary.add(batch([hostile]))
    file = io.StringIO()
    Console(file=file, width=2_000).print(table([str(number) for number in range(7)], group_rows(summary.groups())))
    assert file.getvalue().replace("\n", "").isprintable() and file.getvalue().count("\n") == 2


def test_machines_get_each_reason_with_what_is_expected_and_the_remedy() -> None:
    summary = Summary(1)
    summary.add(batch([reject(0), reject(1, reason="origin", record=b"\xffx")]))
    made = summary_document(summary)
    assert made["reasons"]["origin"]["remedy"].startswith("give `site` and `sensor`")
    assert made["reasons"]["not_json"]["expected"] == "one JSON object a line"
    assert [row["record"] for row in made["last"]] == ["\\xffx"]
    assert json.dumps(document(reject(2)))


def test_what_to_do_about_columns_holds_for_a_file_whose_header_has_them() -> None:
    ((reason, _, remedy),) = advice([Group("dam", "gate", "columns", 1)])
    assert reason == "columns" and "its header" in remedy and "`columns` of its source" in remedy


def test_since_is_a_span_or_a_time() -> None:
    now_us = 1_700_000_000_000_000
    assert since_us(None, now_us) is None
    assert since_us("15m", now_us) == now_us - 900_000_000
    assert since_us("2d", now_us) == now_us - 172_800_000_000
    assert since_us("2023-11-14T22:13:20Z", 0) == now_us
    for text in ("", "m", "-5m", "yesterday"):
        with pytest.raises(Usage, match=r"--since.*expected so long ago as 15m, 2h or 1d"):
            since_us(text, now_us)
