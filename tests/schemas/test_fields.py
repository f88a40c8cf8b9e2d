import hashlib

import pytest

from pipeline.contracts.raw import CONTENT_TYPES
from schemas.fields import arrow_schema, load
from schemas.sources import sources
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


# Fields that every flow has from its message or from ingest itself.
FROM_INGEST = {
    "raw_partition",
    "raw_offset",
    "raw_index",
    "record_id",
    "source_record",
    "site",
    "sensor",
    "ingest_ts_us",
}
FROM_INGEST |= {"source_type", "quality"}


@pytest.mark.parametrize("name", sources())
def test_a_source_says_where_it_has_every_field_that_a_flow_must_have(name: str) -> None:
    source, table = sources()[name], load("flow")
    named = [origin.flow for origin in source.origins]
    assert len(set(named)) == len(named)
    required = {field.name for field in table.fields if not field.null}
    assert required - FROM_INGEST <= set(named) <= {field.name for field in table.fields} - FROM_INGEST
    assert [field.name for field in table.fields if field.name in named] == named, "in the flow table's order"
    assert source.bytes in ("payload", "ip", "frame", "varies") and source.direction in ("one-way", "both ways")
    assert source.verified.startswith(("by ", "unverified: "))
    assert source.name in table.field("source_type").enum
    for field, value in source.constants.items():
        enum = table.field(field).enum
        assert not enum or value in enum, field


def test_every_content_type_has_one_table() -> None:
    named = [content_type for source in sources().values() for content_type in source.content_types]
    assert sorted(named) == sorted(CONTENT_TYPES)


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
        assert topic.writers
        assert topic.readers
        assert topic.partition_count(6) in (1, 6)
        is_for_ever = topic.retention_ms == -1
        assert is_for_ever or not topic.compacted, topic.name
        assert topic.compacted or not (is_for_ever and topic.partitions == "data"), topic.name


# Of the fields and their words, as closed files of the archive hold them.
WRITTEN = {
    "scored": "ac25dbbf60f26f771584df11341f60a37542031abdfb36b0d21b907362185155",
    "reject": "efc1a6dee249de4882515760dfa6b93a7381ab4a5e9f62f4edfa900efe0f44fd",
}


@pytest.mark.parametrize("name", WRITTEN)
def test_what_closed_files_say_of_their_columns_is_what_it_was(name: str) -> None:
    """A word changed in schemas/*.toml changes every file's bytes: other digests than those of the same rows before."""
    schema = arrow_schema(name)
    fields = [(field.name, str(field.type), field.nullable, sorted((field.metadata or {}).items())) for field in schema]
    written = repr((fields, sorted((schema.metadata or {}).items())))
    assert hashlib.sha256(written.encode()).hexdigest() == WRITTEN[name]
