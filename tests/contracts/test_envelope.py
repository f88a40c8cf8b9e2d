"""The facts of a message: what is written is read, and what no stage may believe is refused by one error."""

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.contracts.baseline_commands import ACTIONS, MAX_NUMBER, BaselineCommand
from pipeline.contracts.envelope import (
    MAX_SHOWN,
    MAX_WHOLE,
    FeaturesFacts,
    FlowsFacts,
    MessagePosition,
    RejectsFacts,
    ScoredFacts,
    SensorWatermark,
)
from pipeline.contracts.lateness import SensorLateness, StatedLateness
from pipeline.errors import BadData, BadEnvelope
from pipeline.runtime.wire import batches, messages
from pipeline.runtime.wire.batches import empty
from schemas.intake import MAX_LATENESS_US
from tests.contracts.facts import at, features_facts, flows_facts

WHOLE = st.integers(0, MAX_WHOLE)
NAME = st.text(max_size=12)
SENSORS = st.lists(st.tuples(NAME, NAME), max_size=4).map(tuple)
POSITIONS = st.tuples(WHOLE, WHOLE)
US = st.integers(0, MAX_LATENESS_US)
STATED = st.lists(st.builds(StatedLateness, NAME, NAME, WHOLE, US | st.none()), max_size=4).map(tuple)
HOLDING = st.lists(st.builds(SensorLateness, NAME, NAME, US), max_size=4).map(tuple)
WATERMARKS = st.lists(st.builds(SensorWatermark, NAME, NAME, st.integers(-MAX_WHOLE, MAX_WHOLE)), max_size=4).map(tuple)
FLOWS = st.builds(
    FlowsFacts,
    raw_partition=WHOLE,
    first=POSITIONS,
    last=POSITIONS,
    records=st.integers(1000, MAX_WHOLE),
    rejected=st.integers(0, 1000),
    ended=SENSORS,
    silent=SENSORS,
    commands=st.lists(
        st.builds(
            BaselineCommand,
            site=NAME,
            sensor=NAME,
            action=st.sampled_from(ACTIONS),
            address=NAME,
            service=NAME,
            number=st.integers(0, MAX_NUMBER),
        ),
        max_size=2,
    ).map(tuple),
    lateness=STATED,
)
FEATURES = st.builds(
    FeaturesFacts,
    seq=WHOLE,
    raw_partition=WHOLE,
    feature_set=st.text(min_size=1, max_size=12),
    feature_hash=st.text(min_size=1, max_size=12),
    watermarks=WATERMARKS,
    lateness=HOLDING,
    ended=SENSORS,
    flows_offset=WHOLE,
    frontier=st.none() | POSITIONS,
    first=POSITIONS,
    through=st.none() | POSITIONS,
    records=WHOLE,
    rejected=WHOLE,
)
WHERE = MessagePosition("flows", 3, 918)


@given(st.one_of(FLOWS, FEATURES, FEATURES.map(ScoredFacts.of), st.builds(RejectsFacts, raw_partition=WHOLE)))
def test_what_is_written_is_read(facts: Any) -> None:
    document = orjson.loads(orjson.dumps(facts.document(), option=orjson.OPT_SORT_KEYS))
    assert document == facts.document()
    again = type(facts).read(document, WHERE)
    assert again == facts
    assert type(again) is type(facts)


@given(st.integers(0, 2**31 - 1))
def test_through_the_bytes_of_a_message(partition: int) -> None:
    facts = flows_facts(raw_partition=partition, ended=(("plant", "left"),))
    rows, got = messages.read(messages.write(empty("flow"), facts), FlowsFacts, at("flows", partition, 7))
    assert got == facts and rows.equals(empty("flow"))


def test_the_bytes_are_those_of_before_there_were_types() -> None:
    facts = flows_facts(raw_partition=2, last=(4, 1), records=6, rejected=1, silent=(("plant", "left"),))
    before = {
        **{"raw_partition": 2, "first": [0, 0], "last": [4, 1], "records": 6, "rejected": 1},
        **{"ended": [], "silent": [["plant", "left"]]},
    }
    assert messages.write(empty("flow"), facts) == batches.encode(empty("flow"), before)
    made = features_facts(frontier=(3, 0), through=None, watermarks=(SensorWatermark("plant", "left", -5),))
    before = {
        **{"seq": 0, "raw_partition": 0, "flows_offset": 0, "feature_set": "test-1", "feature_hash": "abc"},
        **{"frontier": [3, 0], "first": [0, 0], "through": None, "records": 0, "rejected": 0},
        **{"watermarks": [["plant", "left", -5]], "ended": []},
    }
    for facts_of_hop in (made, ScoredFacts.of(made)):
        assert messages.write(empty("features"), facts_of_hop) == batches.encode(empty("features"), before)


def test_a_message_from_before_there_were_ticks_is_read() -> None:
    document = flows_facts().document()
    del document["silent"]
    assert FlowsFacts.read(document, WHERE) == flows_facts()


def test_a_fact_of_a_later_version_is_passed_over() -> None:
    assert FlowsFacts.read({**flows_facts().document(), "compression": 7}, WHERE) == flows_facts()


NO_WHOLE: list[Any] = [True, "5", 5.0, -1, None, [], 2**63]
NO_POSITION: list[Any] = [[], [1], [1, 2, 3], [True, 0], ["1", 0], [1.0, 0], [-1, 0], 5, "1,2", {}]
NO_SENSORS: list[Any] = [None, "plant/left", {}, [["plant"]], [["plant", "left", 5]], [["plant", 7]], ["plant"], [None]]
NO_WATERMARKS: list[Any] = [
    *[None, {}, [["plant", "left"]], [["plant", "left", None]], [["plant", "left", True]], [["plant", "left", "5"]]],
    *[[["plant", "left", 5.0]], [["plant", 1, 5]], [["plant", "left", 5, 6]], [["plant", "left", 2**63]]],
]
NO_LATENESS: list[Any] = [
    *[None, {}, [["a", "b"]], [["a", "b", 1, 2, 3]], [["a", "b", True]], [["a", 1, 5]], [["a", "b", -1]]],
    *[[["a", "b", MAX_LATENESS_US + 1]], [["a", "b", "5"]]],
]
NO_STATED: list[Any] = [
    *[None, {}, [["a", "b", 5]], [["a", "b", 1, 2, 3]], [["a", "b", None, 5]], [["a", "b", -1, 5]], [["a", 1, 0, 5]]],
    *[[["a", "b", 0, True]], [["a", "b", 0, MAX_LATENESS_US + 1]], [["a", "b", 0, -1]], [["a", "b", 0, "5"]]],
]
BAD_RANGE: dict[str, list[Any]] = {
    "raw_partition": NO_WHOLE,
    "first": [*NO_POSITION, None],
    "records": NO_WHOLE,
    "rejected": NO_WHOLE,
    "ended": NO_SENSORS,
}
BAD_FLOWS: dict[str, list[Any]] = {
    **BAD_RANGE,
    "last": [*NO_POSITION, None],
    "silent": NO_SENSORS,
    "commands": [None, [1], [{}]],
    "lateness": NO_STATED,
}
BAD_FEATURES: dict[str, list[Any]] = {
    **BAD_RANGE,
    "seq": NO_WHOLE,
    "flows_offset": NO_WHOLE,
    "feature_set": [None, "", 5, True, []],
    "feature_hash": [None, "", 5, True, []],
    "frontier": NO_POSITION,
    "through": NO_POSITION,
    "watermarks": NO_WATERMARKS,
    "lateness": NO_LATENESS,
}
MALFORMED = [
    *((flows_facts(), name, value) for name, values in BAD_FLOWS.items() for value in values),
    *((features_facts(), name, value) for name, values in BAD_FEATURES.items() for value in values),
    *((ScoredFacts.of(features_facts()), name, value) for name, values in BAD_FEATURES.items() for value in values),
    *((RejectsFacts(raw_partition=0), "raw_partition", value) for value in NO_WHOLE),
]


@pytest.mark.parametrize(("facts", "name", "value"), MALFORMED)
def test_a_malformed_fact_is_refused(facts: Any, name: str, value: object) -> None:
    with pytest.raises(BadEnvelope) as refused:
        type(facts).read({**facts.document(), name: value}, WHERE)
    said = str(refused.value)
    assert said.startswith(f"flows[3]@918: fact '{name}' of {type(facts).__name__}: got ")
    assert "expected" in said and "run the same version everywhere" in said
    assert refused.value.exit_code == BadData.exit_code


@pytest.mark.parametrize("facts", [flows_facts(), features_facts(), ScoredFacts.of(features_facts())])
def test_a_missing_fact_is_refused_by_name(facts: Any) -> None:
    for name in facts.document().keys() - {"silent", "commands"}:
        document = facts.document()
        del document[name]
        with pytest.raises(BadEnvelope, match=rf"flows\[3\]@918: fact '{name}' of .*: got nothing \(facts: "):
            type(facts).read(document, WHERE)


@pytest.mark.parametrize("document", [None, [], "{}", 5, True, {}])
def test_what_is_no_object_with_facts_is_refused(document: object) -> None:
    for contract in (FlowsFacts, RejectsFacts, FeaturesFacts, ScoredFacts):
        with pytest.raises(BadEnvelope, match=r"flows\[3\]@918: "):
            contract.read(document, WHERE)


def test_more_rejects_than_records_are_refused() -> None:
    with pytest.raises(BadEnvelope, match="'rejected' of FlowsFacts: got 3, expected at most the 2 of 'records'"):
        FlowsFacts.read(flows_facts(records=2, rejected=3).document(), WHERE)


def test_a_refused_value_is_not_printed_whole() -> None:
    with pytest.raises(BadEnvelope) as refused:
        FlowsFacts.read({**flows_facts().document(), "records": "9" * 10_000}, WHERE)
    assert len(str(refused.value)) < MAX_SHOWN + 250


def test_what_is_nested_deeper_than_python_follows_is_refused() -> None:
    nested = orjson.loads(b"[" * 1_000 + b"]" * 1_000)
    for document in (nested, {**flows_facts().document(), "first": nested}):
        with pytest.raises(BadEnvelope, match="a list of very many levels"):
            FlowsFacts.read(document, WHERE)


def test_every_hop_keeps_the_partition_number() -> None:
    payload = messages.write(empty("flow"), flows_facts(raw_partition=1))
    with pytest.raises(BadEnvelope, match=r"flows\[2\]@7: fact 'raw_partition' .*: got 1, expected 2"):
        messages.read(payload, FlowsFacts, at("flows", 2, 7))


def test_bytes_and_columns_are_refused_at_the_messages_position() -> None:
    for payload in (b"", b"nonsense", messages.write(empty("reject"), flows_facts())):
        with pytest.raises(Exception, match=r"^flows\[0\]@7: ") as refused:
            messages.read(payload, FlowsFacts, at("flows", offset=7))
        assert type(refused.value).__name__ in ("BadData", "SchemaMismatch")


def test_evictions_are_stated_where_there_are_any() -> None:
    without, having = features_facts(), features_facts(evicted=(("dam", "gate"),))
    assert "evicted" not in without.document() and having.document()["evicted"] == [["dam", "gate"]]
    for facts in (without, having):
        assert FeaturesFacts.read(facts.document(), "here") == facts
        assert ScoredFacts.of(facts).evicted == facts.evicted
    with pytest.raises(BadEnvelope, match="evicted"):
        FeaturesFacts.read({**having.document(), "evicted": ["gate"]}, "here")
