"""Rejects are counted for the source that they came from, as far as their names say it."""

from typing import Any

from pipeline.tools.rejects.by_source import rejects_by_source
from pipeline.tools.rejects.summary import Group
from schemas.intake import FileEntry, TopicSource


def source(site: Any, sensor: Any, topic: str = "zeek") -> TopicSource:
    return TopicSource.model_validate({"topic": topic, "site": site, "sensor": sensor})


def counts(sources: list[TopicSource | FileEntry], *groups: tuple[str, str, str, int]) -> tuple[list[Any], int]:
    topics = [[each.topic or ""] if isinstance(each, TopicSource) else [] for each in sources]
    found, others = rejects_by_source(sources, topics, [Group(*group) for group in groups])
    return [(dict(each.reasons), each.shared) for each in found], others


def test_names_that_are_text_say_whose_they_are() -> None:
    file = FileEntry(file="/a", site="dam", sensor="gate")
    sources: list[TopicSource | FileEntry] = [file, source("dam", "weir")]
    groups = [
        ("dam", "gate", "time", 2),
        ("dam", "gate", "count", 1),
        ("dam", "weir", "time", 4),
        ("x", "gate", "y", 8),
    ]
    assert counts(sources, *groups) == ([({"time": 2, "count": 1}, False), ({"time": 4}, False)], 8)


def test_names_of_records_may_be_any_but_those_of_another_source() -> None:
    sources: list[TopicSource | FileEntry] = [
        source("dam", {"field": "host"}),
        source("dam", "gate"),
        source({"key": True}, {"header": "sensor"}),
    ]
    groups = [("dam", "gate", "time", 1), ("dam", "weir", "time", 2), ("mill", "a", "time", 4), ("", "", "origin", 8)]
    assert counts(sources, *groups) == (
        [({"time": 2}, False), ({"time": 1}, False), ({"time": 4, "origin": 8}, False)],
        0,
    )


def test_of_two_sources_with_the_same_names_both_count_and_say_so() -> None:
    sources: list[TopicSource | FileEntry] = [source("dam", "gate"), FileEntry(file="/a", site="dam", sensor="gate")]
    assert counts(sources, ("dam", "gate", "time", 3)) == ([({"time": 3}, True), ({"time": 3}, True)], 0)


def test_a_name_from_the_topic_is_known() -> None:
    site = {"topic": "^(.+)-flows$", "else": "other"}
    sources: list[TopicSource | FileEntry] = [source(site, "gate", "dam-flows")]
    groups = [("dam", "gate", "time", 1), ("other", "gate", "time", 2), ("mill", "gate", "time", 4)]
    assert counts(sources, *groups) == ([({"time": 3}, False)], 4)
