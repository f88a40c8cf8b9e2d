from typing import Any

import orjson
import pytest

from pipeline.contracts.notice_words import _DOES
from pipeline.contracts.notices import FIGURES, WHATS, Notice
from pipeline.errors import BadData

RELATION: dict[str, Any] = {
    **{"what": "use", "source": "10.0.0.7", "target": "10.0.0.20", "service": "502/tcp"},
    **{"blocks": 1, "first_us": 1, "last_us": 2},
}
NOTICE: dict[str, Any] = {
    **{"site": "plant", "sensor": "left", "number": 1, "kind": "silent", "phase": 3, "at_us": 5, "since_us": 1},
    **{"figures": dict.fromkeys(FIGURES, 0), "relations": [RELATION], "more": 0},
}


def test_a_notice_is_read_as_it_was_written() -> None:
    notice = Notice.of(NOTICE)
    assert notice.document() == NOTICE and Notice.of(orjson.loads(notice.payload())) == notice


def test_every_relation_has_words() -> None:
    assert tuple(_DOES) == WHATS


ODD: list[dict[str, Any]] = [
    *({name: value} for name in ("site", "sensor", "kind") for value in (5, None, ["x"])),
    *({name: value} for name in ("number", "phase", "at_us", "since_us", "more") for value in ("1", 1.5, None, True)),
    *({name: value} for name in ("number", "at_us", "more") for value in (2**63, -(2**63))),
    {"phase": 99},
    {"figures": NOTICE["figures"] | {"affected_relations": "two"}},
    {"relations": 5},
    {"relations": [5]},
    {"relations": [{}]},
    *({"relations": [RELATION | {name: 5}]} for name in ("what", "source", "target", "service")),
    *({"relations": [RELATION | {name: "5"}]} for name in ("blocks", "first_us", "last_us")),
    {"relations": [RELATION | {"what": "unheard of"}]},
    {"unheard_of": 1},
]


@pytest.mark.parametrize("odd", ODD, ids=str)
def test_what_is_no_notice_is_said_to_be_none(odd: dict[str, Any]) -> None:
    with pytest.raises(BadData, match="notice of a baseline"):
        Notice.of(NOTICE | odd)
