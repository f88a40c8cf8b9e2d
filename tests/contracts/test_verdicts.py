from typing import Any

import orjson
import pytest

from pipeline.contracts.verdicts import LABELLING, VERDICTS, read_verdict, verdict_bytes
from pipeline.errors import BadData

VERDICT: dict[str, Any] = {"uid": "0f" * 16, "verdict_id": 2, "verdict": "True Positive", "by": "ada", "at_us": 1}


def test_a_verdict_is_read_as_it_was_written() -> None:
    assert read_verdict(verdict_bytes(VERDICT)) == VERDICT


@pytest.mark.parametrize(
    "changed",
    [
        {"uid": "x"},
        {"verdict_id": 3},
        {"verdict_id": True},
        {"verdict_id": "2"},
        {"by": ""},
        {"at_us": "5"},
        {"by": None},
    ],
)
def test_what_violates_the_schema_is_neither_read_nor_written(changed: dict[str, Any]) -> None:
    [name] = changed
    with pytest.raises(BadData, match=name):
        verdict_bytes(VERDICT | changed)
    with pytest.raises(BadData, match=name):
        read_verdict(orjson.dumps(VERDICT | changed))


@pytest.mark.parametrize("payload", [b"", b"{", b"[]", b"7", b"null", b'{"uid": "\\u001b[2J"}', "\u202e".encode()])
def test_bytes_that_are_no_verdict_are_refused_in_ascii(payload: bytes) -> None:
    with pytest.raises(BadData) as refused:
        read_verdict(payload)
    assert str(refused.value).isascii() and str(refused.value).isprintable()


def test_every_verdict_of_the_table_fits_the_schema() -> None:
    for number, caption in VERDICTS.values():
        assert read_verdict(verdict_bytes(VERDICT | {"verdict_id": number, "verdict": caption}))
    assert {number for number, _ in VERDICTS.values()} - LABELLING == {6, 10}
