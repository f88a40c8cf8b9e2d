"""The record of a position is read as it was written, or refused."""

import orjson
import pytest

from pipeline.errors import RefusedState
from pipeline.ingest.follow.position import Layout, decode, key_of, number_of
from pipeline.ingest.follow.tail import Followed


def encoded() -> bytes:
    followed = Followed(7, "/logs/conn.log", "plant", "edge", None)
    followed.layout = Layout("zeek-conn+tsv", ("ts", "uid"), unset="!")
    return followed.position(1_800_000_000_000_000).encoded("plant/edge-0")


def test_a_position_is_read_as_it_was_written() -> None:
    position = decode(encoded(), "positions[0]@1")
    assert position.encoded("plant/edge-0") == encoded()
    assert position.layout.columns == ("ts", "uid")


@pytest.mark.parametrize(
    "change",
    [{"offset": "7"}, {"version": 2}, {"layout": {}}, {"layout": {"columns": 1}}, {"done": 1}, {"layout": None}],
    ids=str,
)
def test_one_that_is_none_is_refused(change: dict[str, object]) -> None:
    value = orjson.dumps({**orjson.loads(encoded()), **change})
    with pytest.raises(RefusedState, match=r"positions\[0\]@1: got a position that cannot be read"):
        decode(value, "positions[0]@1")
    with pytest.raises(RefusedState):
        decode(value[:-5], "positions[0]@1")


def test_a_key_names_follower_and_file() -> None:
    key = key_of("a#b/c-0", 12)
    assert number_of("a#b/c-0", key.encode()) == 12
    assert number_of("a", key.encode()) is None
    assert number_of("a#b/c-0", None) is None
    assert number_of("a#b/c-0", b"a#b/c-0#x") is None
