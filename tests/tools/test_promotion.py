from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pipeline.score.promotions import Ledger
from pipeline.tools.promotion import holding


def promotion(name: str, from_us: int) -> dict[str, Any]:
    return {
        "kind": "promotion",
        "promotion": name,
        "model": f"model of {name}",
        "sha256": "",
        "uri": "",
        "effective_from_us": from_us,
    }


def vote(kind: str, name: str, partition: int) -> dict[str, Any]:
    return {"kind": kind, "promotion": name, "partition": partition}


def test_it_holds_once_all_have_accepted_and_is_void_at_the_first_refusal() -> None:
    records = [promotion("a", 5), vote("acceptance", "a", 0)]
    assert holding(records, 2) == ""
    records += [vote("acceptance", "a", 1), promotion("b", 9), vote("refusal", "b", 0)]
    assert holding(records, 2) == "model of a"
    assert holding([*records, vote("acceptance", "b", 0), vote("acceptance", "b", 1)], 2) == "model of a"


def test_malformed_promotions_are_ignored() -> None:
    bad = {"kind": "promotion", "promotion": "x", "model": "m", "effective_from_us": "soon"}
    votes = [vote("acceptance", "x", 0), vote("acceptance", "x", 1), {"kind": "acceptance", "promotion": "a"}]
    assert holding([bad, {"kind": "promotion", "promotion": "y"}, *votes, promotion("a", 5), {}], 2) == ""


names = st.sampled_from("abc")
records = st.lists(
    st.builds(vote, st.sampled_from(["acceptance", "refusal"]), names, st.integers(0, 1)), max_size=12
).map(lambda votes: [promotion("a", 5), promotion("b", 9), promotion("c", 12), *votes])


@given(records)
def test_it_is_what_score_makes_of_the_log(records: list[dict[str, Any]]) -> None:
    ledger = Ledger(2)
    for record in records:
        ledger.take(record)
    assert holding(records, 2) == (ledger.holding[-1].model if ledger.holding else "")
