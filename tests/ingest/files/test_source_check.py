"""What messages of other tools would become, said before they are read."""

from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from pipeline.ingest.files.source_check import Checked, Disorder, Sample, check, disorder, remedy_of
from pipeline.ingest.files.source_names import Suggestions, entry_for, source_for, suggestions, yaml_of
from pipeline.ingest.intake.origins import Envelope
from pipeline.ingest.reasons import REASONS
from pipeline.settings import load_settings
from pipeline.tools.sources import head_of_file
from schemas.intake import FileEntry, Origin, TopicSource
from tests.ingest.intake.test_convert import CONN, DNS, EVE, wrapped

SAMPLES = Path(__file__).parent.parent / "samples"
NOW_US = 1_800_000_000_000_000
DAY_US = 86_400_000_000


def samples(*payloads: bytes, key: bytes | None = None, headers: tuple[tuple[str, bytes], ...] = ()) -> list[Sample]:
    return [Sample(payload, Envelope("zeek", key, headers), NOW_US) for payload in payloads]


def origin(**given: object) -> Origin:
    return Origin.model_validate(given)


def checked(given: list[Sample], source: TopicSource | None = None) -> tuple[Checked, Suggestions]:
    proposed = suggestions(given)
    return check(given, source_for("zeek", source, proposed), DAY_US), proposed


def test_formats_other_logs_wrappers_and_rejects_are_counted() -> None:
    made, _ = checked(samples(CONN, wrapped(CONN), DNS, EVE, b"none"))
    assert made.formats == {"zeek-conn+json": 2, "suricata-eve+json": 1, "": 1}
    assert (made.messages, made.records, made.flows.num_rows, made.rejected) == (5, 5, 3, 1)
    assert (made.other_logs, made.in_wrappers) == ({"dns": 1}, 1)
    assert [(each.reason, each.count) for each in made.rejects] == [("content_type", 1)]
    assert not made.rejects[0].detail.startswith("raw[")
    assert {each.field: each.origin for each in made.fields}["src_addr"] == "id.orig_h / src_ip"


def test_what_is_known_and_not_read_is_said() -> None:
    made, _ = checked(samples((SAMPLES / "field-cases/z26-filebeat-ecs/zeek-ecs.json").read_bytes()))
    (sentence,) = made.near_misses
    assert "Elastic Common Schema" in sentence


def test_a_field_that_all_records_have_with_few_values_may_name_the_sensor() -> None:
    host: dict[str, Any] = {"host": {"name": "edge-7"}, "fields": {"site": "north"}}
    made, proposed = checked(samples(*[wrapped(CONN, **host)] * 3))
    assert [each.origin for each in proposed.sensor] == [origin(field="host.name")]
    assert [each.origin for each in proposed.site] == [origin(field="fields.site")]
    assert made.origins == [("north", "edge-7", 3)]


def test_a_field_that_many_records_lack_or_that_has_many_values_names_nothing() -> None:
    assert checked(samples(wrapped(CONN, hostname="a"), CONN))[1].sensor == []
    many = samples(*(wrapped(CONN, hostname=f"h{number}") for number in range(300)))
    assert checked(many)[1].sensor == []
    assert checked(samples(wrapped(CONN, hostname="bad\x07name")))[1].sensor == []


def test_headers_and_keys_may_name_them_too() -> None:
    made, proposed = checked(samples(CONN, CONN, key=b"edge-3", headers=(("site", b"south"),)))
    assert proposed.site[0].origin == origin(header="site")
    assert proposed.sensor[0].origin == origin(key=True)
    assert made.origins == [("south", "edge-3", 2)]


def test_the_exporter_of_goflow2_is_its_sensor() -> None:
    made, proposed = checked(samples(*(SAMPLES / "goflow2/netflow-ipfix.json").read_bytes().splitlines()))
    assert proposed.sensor[0].origin == origin(field="sampler_address")
    assert set(made.formats) == {"goflow2+json"}
    assert made.flows.num_rows == 80


@pytest.mark.parametrize(
    "case",
    [
        "goflow2/netflow-ipfix.json",
        "field-cases/z07-path_func-tsv/conn-internal.log",
        "field-cases/s06-jq-pretty/flows.json",
    ],
)
def test_settings_take_the_yaml_and_the_file_gives_the_same_flows_by_it(case: str, tmp_path: Path) -> None:
    given, content = head_of_file(str(SAMPLES / case), 1_000)
    source = source_for("zeek", None, suggestions(given), None, None, content)
    file = tmp_path / "sources.yaml"
    file.write_text(yaml_of(source))
    (read,) = load_settings(sources=str(file)).sources
    assert read == source
    assert check(given, read, DAY_US).flows.num_rows > 0


def test_only_the_head_of_a_file_is_read(tmp_path: Path) -> None:
    file = tmp_path / "conn.log"
    file.write_bytes((CONN + b"\n") * 10)
    assert len(head_of_file(str(file), 3)[0]) == 3


def test_the_names_of_the_command_line_replace_those_of_the_source() -> None:
    given = TopicSource.model_validate({"pattern": "^z", "site": "a", "sensor": {"field": "x"}})
    source = source_for("zeek", given, Suggestions([], []), "b", None)
    assert (source.pattern, source.site, source.sensor) == ("^z", "b", origin(field="x"))


def test_every_reason_has_a_remedy() -> None:
    assert all(remedy_of(reason) for reason in REASONS)


documents = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.dictionaries(st.sampled_from(["message", "host", "name", "site", "log", "a.b"]), inner),
)


@given(
    st.lists(st.binary(max_size=80) | documents.map(lambda each: orjson.dumps(each, option=0, default=str)), max_size=8)
)
def test_nothing_in_a_message_raises(payloads: list[bytes]) -> None:
    made, _ = checked(samples(*payloads))
    assert made.flows.num_rows + made.rejected + sum(made.other_logs.values()) == made.records


def test_the_entry_of_a_file_follows_it() -> None:
    entry, is_set = entry_for("/logs/current/conn.log", [], sensor="gate")
    assert not is_set and yaml.safe_load(yaml_of(entry)) == {
        "sources": [{"file": "/logs/current/conn.log", "site": "my-plant", "sensor": "gate"}]
    }
    given = [FileEntry(files=("/logs/*/conn.log",), site="dam", sensor="weir", time_zone="Europe/Vienna")]
    assert entry_for("/logs/current/conn.log", given, site="mill") == (
        given[0].model_copy(update={"site": "mill"}),
        True,
    )
    assert entry_for("/other/conn.log", given)[1] is False


def conn(end_s: int) -> bytes:
    return orjson.dumps({**orjson.loads(CONN), "ts": NOW_US / 1e6 - 10_000 + end_s, "duration": 0.0})


def test_how_far_flows_are_out_of_order_is_said_of_each_sensor() -> None:
    made, _ = checked(samples(*map(conn, (0, 100, 3, 101, 99)), key=b"edge-3"))
    found = disorder(made.flows, {}, lambda _site: 2_000_000)
    s = 1_000_000
    name = (made.origins[0].site, made.origins[0].sensor)
    assert found == [Disorder(*name, 5, 1, 2 * s, 97 * s, 97 * s, 100 * s)]
    assert disorder(made.flows, {}, lambda _site: 97 * s)[0].late == 0
    assert made.stated == {name: {300 * s}}, "what intake would have messages of Zeek's conn.log state"
    assert disorder(made.flows, made.stated, lambda _site: 2 * s)[0][3:5] == (0, 300 * s)
    own, _ = checked(samples(conn(0)), TopicSource(topic="zeek", site="a", sensor="b", lateness_us=0))
    assert own.stated == {("a", "b"): {0}}, "its own comes first"
    assert disorder(made.flows, {name: {None, s}}, lambda _site: 2 * s)[0].lateness_us == 2 * s, "the largest holds"


def test_sensors_do_not_make_each_other_late_and_no_flow_is_no_disorder() -> None:
    made, _ = checked(samples(conn(0), conn(100)))
    other, _ = checked(samples(conn(50)), TopicSource(topic="zeek", site="north", sensor="edge-9"))
    both = pa.concat_batches([made.flows, other.flows])
    assert [each.late for each in disorder(both, {}, lambda _site: 0)] == [0, 0]
    assert disorder(made.flows.slice(0, 0), {}, lambda _site: 0) == []
