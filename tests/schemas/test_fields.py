import pytest

from schemas.fields import SOURCES, arrow_schema, load
from schemas.topics import TopicNames, topics


@pytest.mark.parametrize("name", ["flow", "features", "scored", "reject"])
def test_every_field_says_what_it_is(name: str) -> None:
    table = load(name)
    assert len({field.name for field in table.fields}) == len(table.fields)
    for field in table.fields:
        assert field.doc.endswith("."), field.name
        assert field.min is None or field.max is None or field.min < field.max
        if field.name.endswith("_us"):
            assert field.unit.startswith("us"), field.name
        if field.unit == "bytes" and field.name != "record_size":
            assert "bytes" in field.name or "window" in field.name


def test_every_measured_flow_field_says_where_each_source_has_it() -> None:
    given = {"raw_partition", "raw_offset", "raw_index", "record_id", "source_record", "site", "sensor", "ingest_ts_us"}
    for field in load("flow").fields:
        if field.name not in given | {"quality"}:
            assert tuple(source for source, _ in field.sources) == SOURCES, field.name


def test_the_feature_matrix_comes_last() -> None:
    schema = arrow_schema("scored", 7)
    assert schema.names[-1] == "features"
    assert schema.field("features").type.list_size == 7


def test_tables_extend_each_other_in_order() -> None:
    flow, features, scored = (arrow_schema(name).names for name in ("flow", "features", "scored"))
    assert features[: len(flow)] == flow
    assert scored[: len(features)] == features


def test_topic_names_come_from_the_table_alone() -> None:
    names = TopicNames("x.")
    assert names.featurize_state == "x.featurize-state"
    with pytest.raises(AttributeError, match="not in schemas/topics"):
        _ = names.flowz


def test_every_topic_has_a_writer_and_a_reader() -> None:
    for topic in topics().values():
        assert topic.writer
        assert topic.readers
        assert topic.partition_count(6) in (1, 6)
        assert topic.compacted is (topic.retention_ms == -1 and topic.partitions == "data"), topic.name
