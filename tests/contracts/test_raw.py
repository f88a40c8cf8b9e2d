from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.archive.upkeep.raw_counts import window_of
from pipeline.contracts.raw import (
    BASELINE_COMMAND,
    CONTENT_TYPES,
    END_OF_SOURCE,
    TICK,
    ZEEK_JSON,
    Framing,
    framing_of,
    name_of,
    stated_records,
)
from pipeline.ingest.decode import decode_messages
from pipeline.ingest.headers import HeaderCache
from schemas.sources import sources


@dataclass
class Sent:
    """A message of `raw` as a Kafka client gives it."""

    at: int
    payload: bytes | None
    pairs: list[tuple[str, bytes | None]]

    def partition(self) -> int:
        return 0

    def offset(self) -> int:
        return self.at

    def timestamp(self) -> tuple[int, int]:
        return 1, 1_700_000_000_000

    def headers(self) -> Any:
        return self.pairs

    def value(self) -> bytes | None:
        return self.payload


def sent(content_type: bytes | None, payload: bytes | None, *more: tuple[str, bytes | None], at: int = 0) -> Sent:
    named: list[tuple[str, bytes | None]] = [("site", b"dam"), ("sensor", b"weir"), ("columns", b'["ts", "uid"]')]
    return Sent(at, payload, [("content-type", content_type), *named, *more])


def by_ingest(messages: list[Sent]) -> tuple[list[int], list[tuple[str, str]]]:
    """Records of each message, and whose they are, as ingest decodes them: each is a flow or a reject."""
    read = HeaderCache().messages(messages)
    decoded = decode_messages(read, 3_600_000_000)
    assert decoded.flows.num_rows + decoded.rejects.num_rows == decoded.bounds[-1]
    sources_of = [read.sources[number] for number in read.source.tolist()]
    return np.diff(decoded.bounds).tolist(), [(source.site, source.sensor) for source in sources_of]


def by_verify(messages: list[Sent]) -> tuple[list[int], list[tuple[str, str]]]:
    """The same as `forebay archive verify` counts them."""
    window = window_of(messages, len(messages))  # type: ignore[arg-type]  # what is read of a message is there
    return window.records.tolist(), window.senders


ROW = b'{"ts": 1.5, "uid": "C"}'


@pytest.mark.parametrize(
    ("content_type", "payload", "records"),
    [
        (TICK, b"", 0),
        (TICK, ROW, 0),
        (TICK, ROW + b"\n" + ROW, 0),
        (BASELINE_COMMAND, ROW + b"\n" + ROW, 0),
        (END_OF_SOURCE, b"", 0),
        (END_OF_SOURCE, ROW, 0),
        (END_OF_SOURCE, b"\xef\xbb\xbf\n \n" + ROW, 0),
        (ZEEK_JSON, None, 0),
        (ZEEK_JSON, b"\n \r\n\t", 0),
        (ZEEK_JSON, b"\xef\xbb\xbf", 0),
        (ZEEK_JSON, ROW + b"\n\n" + ROW, 2),
        ("zeek-conn+tsv", b"\t\n\t\t\n \n", 2),
        ("icsflow+csv", b"\t\n,\n", 1),
        ("zeek-modbus+json", b"{\n}\n", 2),
        ("tick ", ROW + b"\n" + ROW, 1),
        ("", ROW + b"\n" + ROW, 1),
        ("unheard-of", b"\n", 1),
        ("unheard-of", b"\xef\xbb\xbf", 1),
        ("unheard-of", b"", 0),
    ],
)
def test_ingest_and_verify_count_the_same(content_type: str, payload: bytes | None, records: int) -> None:
    messages = [sent(content_type.encode(), payload)]
    assert by_ingest(messages) == by_verify(messages) == ([records], [("dam", "weir")])


pieces = st.sampled_from([b"\n", b"\r\n", b" ", b"\t", b"\xef\xbb\xbf", b"{}", ROW, b"a,b", b"\x00", b"\xff"])
payloads = st.none() | st.lists(pieces, max_size=8).map(b"".join)
types = (
    st.sampled_from([*CONTENT_TYPES, TICK, BASELINE_COMMAND, END_OF_SOURCE, "unheard-of", ""]).map(str.encode)
    | st.none()
)
names = st.none() | st.sampled_from([b"", b"tap", b"\xff", b"a\nb", "\ufffd".encode(), b"n" * 129, "ü".encode()])


@given(st.lists(st.tuples(types, payloads, names, names), min_size=1, max_size=6))
def test_they_do_so_for_any_messages(
    given_messages: list[tuple[bytes | None, bytes | None, bytes | None, bytes | None]],
) -> None:
    messages = [
        sent(content_type, payload, ("site", site), ("sensor", sensor), at=at)
        for at, (content_type, payload, site, sensor) in enumerate(given_messages)
    ]
    assert by_ingest(messages) == by_verify(messages)


def test_every_format_of_the_schemas_has_its_framing() -> None:
    declared = {name for source in sources().values() for name in source.content_types}
    assert declared == set(CONTENT_TYPES)
    assert {framing_of(name) for name in declared} == {Framing.LINES, Framing.TABBED_LINES}
    assert framing_of("zeek-conn") is Framing.WHOLE


def test_a_mark_states_how_many_records_were_sent() -> None:
    mark = sent(END_OF_SOURCE.encode(), b"", ("records", b"17"))
    assert [tuple(counted) for counted in window_of([mark], 1).marks] == [(0, 17)]  # type: ignore[list-item]
    for value in (None, b"", b"-1", b"1.5", b"x", b"9" * 20, b"9" * 5000, "\u0663".encode()):
        assert stated_records(value) is None


@pytest.mark.parametrize("value", [None, b"", b"\xff", b"a\tb", b"\x7f", b"n" * 129])
def test_what_names_no_sensor(value: bytes | None) -> None:
    assert name_of(value) == ""


def test_a_replacement_character_is_a_letter_as_any_other() -> None:
    assert name_of("\ufffd".encode()) == "\ufffd"
