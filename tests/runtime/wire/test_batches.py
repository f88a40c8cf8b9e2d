import struct

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import BadData, ForebayError, SchemaMismatch
from pipeline.runtime.wire import batches, framing
from pipeline.tools.inference.arrow_bodies import END_OF_STREAM
from schemas.fields import arrow_schema
from tests.runtime.wire.earlier import written_plain, written_with_facts_in_its_schema
from tests.tools.inference.arrow import schema_of_shared_parts
from tests.tools.inference.arrow import stream as stream_of

REJECTS = arrow_schema("reject")


def reject_batch(rows: int) -> pa.RecordBatch:
    columns = {
        "raw_partition": [0] * rows,
        "raw_offset": list(range(rows)),
        "raw_index": [0] * rows,
        "source_record": [None] * rows,
        "site": ["s"] * rows,
        "sensor": ["n"] * rows,
        "ingest_ts_us": [1] * rows,
        "content_type": ["x"] * rows,
        "reason": ["not_json"] * rows,
        "detail": [""] * rows,
        "record": [b"\x00\xff"] * rows,
        "record_size": [2] * rows,
    }
    arrays = [pa.array(columns.get(f.name, [None] * rows), f.type) for f in REJECTS]
    return pa.RecordBatch.from_arrays(arrays, schema=REJECTS)


@pytest.mark.parametrize("rows", [0, 1, 5000])
def test_what_is_encoded_is_decoded(rows: int) -> None:
    batch = reject_batch(rows)
    decoded, meta = batches.decode(batches.encode(batch, {"raw_partition": 3}), "reject")
    assert decoded.equals(batch)
    assert meta == {"raw_partition": 3}


def test_equal_input_gives_equal_bytes_whatever_the_order_of_the_facts() -> None:
    batch = reject_batch(3)
    assert batches.encode(batch, {"a": 1, "b": [2]}) == batches.encode(batch, {"b": [2], "a": 1})


def unpacked(payload: bytes) -> list[bytes]:
    """What is in the frames of a message, read as docs/formats.md has it."""
    count = payload[-5]
    table = struct.unpack(f"<{2 * count}I", payload[-5 - 8 * count : -5])
    frames, at = [], 0
    for packed, size in zip(table[::2], table[1::2], strict=True):
        frames.append(pa.CompressedInputStream(pa.BufferReader(payload[at : at + packed]), "lz4").read())
        assert len(frames[-1]) == size
        at += packed
    assert payload[at:] == struct.pack(f"<{2 * count}I", *table) + bytes([count]) + b"FBY2"
    return frames


@pytest.mark.parametrize("rows", [0, 1, 5000])
def test_each_of_several_batches_is_the_stream_that_arrow_writes_and_facts_behind_it(rows: int) -> None:
    parts = [reject_batch(rows), reject_batch(7).slice(2, 3), batches.empty("reject")]
    facts = batches.packed_facts({"seq": 4})
    encoded = [batches.encode(part, facts) for part in parts]
    bare = pa.schema([pa.field(field.name, field.type, field.nullable) for field in REJECTS])
    for part, payload in zip(parts, encoded, strict=True):
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, bare) as writer:
            writer.write_batch(pa.RecordBatch.from_arrays(part.columns, schema=bare))
        stream = sink.getvalue().to_pybytes()
        assert payload == batches.encode(part, {"seq": 4})
        schema, rows_, stated = unpacked(payload)
        assert schema + rows_ + END_OF_STREAM == stream and stated == b'{"seq":4}'


@pytest.mark.parametrize("rows", [0, 1, 5000])
def test_a_plain_message_is_read(rows: int) -> None:
    batch = reject_batch(rows)
    decoded, facts = batches.decode(written_plain(batch, b'{"seq":4}'), "reject")
    assert decoded.equals(batch) and facts == {"seq": 4}


@pytest.mark.parametrize("rows", [0, 1, 5000])
def test_a_message_with_its_facts_in_its_schema_is_read(rows: int) -> None:
    batch = reject_batch(rows)
    decoded, facts = batches.decode(written_with_facts_in_its_schema(batch, b'{"seq":4}'), "reject")
    assert decoded.equals(batch) and facts == {"seq": 4}
    lacking = batch.drop_columns(["export_sequence", "exporter_addr"])
    assert batches.decode(written_with_facts_in_its_schema(lacking, b"{}"), "reject")[0].equals(batch)


def test_what_is_read_is_as_it_is_declared_whatever_metadata_it_was_written_with() -> None:
    batch = reject_batch(2)
    payload = batches.encode(batch, {"seq": 4})
    assert payload == batches.encode(batch.replace_schema_metadata({"seq": "7"}), {"seq": 4})
    for _ in range(2):  # read, and known
        assert batches.decode(payload, "reject")[0].schema.equals(REJECTS, check_metadata=True)


def test_so_is_what_an_earlier_version_wrote() -> None:
    batch = reject_batch(2)
    lacking = batch.drop_columns(["export_sequence"])
    otherwise = pa.schema([field.with_metadata({"doc": "as it was said before"}) for field in REJECTS])
    before = pa.RecordBatch.from_arrays(batch.columns, schema=otherwise)
    unframed = [written_with_facts_in_its_schema(each, b"{}") for each in (batch, lacking, before)]
    for payload in (batches.encode(lacking, {}), *unframed):
        assert batches.decode(payload, "reject")[0].schema.equals(REJECTS, check_metadata=True)


def test_many_schemas_are_not_kept() -> None:
    for number in range(200):
        one = pa.record_batch([pa.array([number])], [f"column {number}"])
        assert batches.encode(one, {}) == batches.encode(one, {})
        with pytest.raises(SchemaMismatch, match=f"16 more|column {number}: got int64, expected nothing"):
            batches.decode(batches.encode(one, {}), "reject")


def wide(columns: int, name: str = "column") -> pa.RecordBatch:
    return pa.record_batch([pa.array([1])] * columns, [f"{name} {number}" for number in range(columns)])


def test_columns_that_are_many_are_not_all_named() -> None:
    with pytest.raises(SchemaMismatch, match=r"raw_partition: got nothing.* 596 more; run the same") as raised:
        batches.decode(batches.encode(wide(600), {}), "reject")
    assert len(str(raised.value)) < 2_000
    with pytest.raises(SchemaMismatch) as raised:
        batches.decode(batches.encode(wide(1, "x" * 50_000), {}), "reject")
    assert len(str(raised.value)) < 2_000


@pytest.mark.parametrize("columns", [5_000, 100_000])
def test_a_schema_that_is_larger_than_any_of_ours_is_not_read(columns: int) -> None:
    part, facts = framing.columns_of(wide(columns)), framing.frame(b"{}")
    for parts in ([part], [framing.columns_of(reject_batch(1)), part]):
        with pytest.raises(BadData, match=r"got schemas of .* bytes, expected at most 65536"):
            batches.decode(framing.framed(parts, facts), "reject")
    with pytest.raises(BadData, match="got a schema of more than 1024 columns"):
        batches.decode(written_plain(wide(columns), b"{}"), "reject")


def test_many_schemas_of_a_message_are_not_read() -> None:
    parts = [framing.columns_of(wide(20, str(number))) for number in range(127)]
    with pytest.raises(BadData, match=r"got schemas of .* bytes, expected at most 65536"):
        batches.decode(framing.framed(parts, framing.frame(b"{}")), "reject")


def test_a_schema_that_says_little_in_many_bytes_is_not_read() -> None:
    """LZ4 passes over what is marked to be passed over; what is known by its bytes would take as much memory."""
    schema, rows = framing.columns_of(reject_batch(3))
    padding = b"\x50\x2a\x4d\x18" + (4_000_000).to_bytes(4, "little") + bytes(4_000_000)
    padded = framing.Columns(schema._replace(packed=padding + bytes(schema.packed)), rows)
    with pytest.raises(BadData, match=r"got schemas of .* bytes, expected at most 65536"):
        batches.decode(framing.framed([padded], framing.frame(b"{}")), "reject")


def test_what_a_schema_describes_is_counted_before_it_is_made() -> None:
    """A long name that 40,000 parts of columns share: 14 KB would become half a gigabyte."""
    shared = schema_of_shared_parts(200, 200, 12_000)
    _, rows = framing.columns_of(reject_batch(3))
    facts = framing.frame(b"{}")
    plain = shared + END_OF_STREAM + b"{}\2\0\0\0FBY1"
    for payload in (framing.framed([framing.Columns(framing.frame(shared), rows)], facts), plain):
        with pytest.raises(BadData, match="got a schema of more than 1024 columns"):
            batches.decode(payload, "reject")


@pytest.mark.parametrize("codec", ["zstd", "lz4"])
def test_a_batch_that_arrow_has_compressed_is_refused_before_it_is_unpacked(codec: str) -> None:
    """It says nowhere how large it is: 13 kB became 1.5 GB."""
    batch = reject_batch(3)
    at = batch.schema.get_field_index("record")
    batch = batch.set_column(at, batch.schema.field(at), pa.array([bytes(10_000_000)] * 3, pa.binary()))
    bare = pa.schema([pa.field(field.name, field.type, field.nullable) for field in REJECTS])
    stream = stream_of(pa.RecordBatch.from_arrays(batch.columns, schema=bare), compression=codec)
    schema = bare.serialize().to_pybytes()
    assert stream.startswith(schema)
    rows = framing.frame(stream[len(schema) :])
    packed = framing.framed([framing.Columns(framing.frame(schema), rows)], framing.frame(b"{}"))
    for payload in (packed, stream + b"{}\2\0\0\0FBY1"):
        before = pa.total_allocated_bytes()
        with pytest.raises(BadData, match="got a compressed record batch"):
            batches.decode(payload, "reject")
        assert pa.total_allocated_bytes() - before < 1_000_000


@pytest.mark.parametrize("offset", [2**30, -1, 3])
def test_a_text_that_lies_elsewhere_is_bad_data(offset: int) -> None:
    """Whoever looked at it would be ended by a segmentation fault."""
    schema, rows = framing.columns_of(reject_batch(30))
    offsets = np.arange(0, 31 * 8, 8, dtype=np.int32)  # of `reason`, a text of eight letters
    data = framing.unpacked(rows).to_pybytes()
    assert data.count(offsets.tobytes()) == 1
    elsewhere = offsets.copy()
    elsewhere[7] = offset
    payload = framing.framed(
        [framing.Columns(schema, framing.frame(data.replace(offsets.tobytes(), elsewhere.tobytes())))],
        framing.frame(b"{}"),
    )
    with pytest.raises(BadData, match=r"[Oo]ffset"):
        batches.decode(payload, "reject")


@pytest.mark.parametrize("damage", [b"", b"{", b"FBY1", b"\0\0\0\0FBY1", b"\xff\xff\xff\xffFBY1"])
def test_facts_that_are_none_are_bad_data(damage: bytes) -> None:
    plain = written_plain(reject_batch(3), b"{}")[: -len(b"{}\2\0\0\0FBY1")]
    with pytest.raises(BadData):
        batches.decode(plain + damage, "reject")
    with pytest.raises(BadData):
        batches.decode(framing.framed([framing.columns_of(reject_batch(3))], framing.frame(damage)), "reject")


@pytest.mark.parametrize("rest", [b"", END_OF_STREAM])
def test_a_message_without_a_batch_is_bad_data(rest: bytes) -> None:
    schema, _ = framing.columns_of(reject_batch(3))
    facts = framing.frame(b"{}")
    plain = framing.unpacked(schema).to_pybytes() + rest + b"{}\2\0\0\0FBY1"
    for payload in (plain, framing.framed([framing.Columns(schema, framing.frame(rest))], facts)):
        with pytest.raises(BadData):
            batches.decode(payload, "reject")


def test_a_column_of_which_the_name_is_no_text_is_bad_data() -> None:
    schema, rows = framing.columns_of(reject_batch(3))
    named = framing.unpacked(schema).to_pybytes().replace(b"content_type", b"content\xfftype")
    payload = framing.framed([framing.Columns(framing.frame(named), rows)], framing.frame(b"{}"))
    for each in (payload, written_plain(reject_batch(3), b"{}").replace(b"content_type", b"content\xfftype")):
        with pytest.raises(BadData):
            batches.decode(each, "reject")


ADDED = ["reason", "detail", "record"]


def part_of(batch: pa.RecordBatch) -> bytes:
    """A message of the batch without some columns in its middle."""
    return batches.encode(batch.drop_columns(ADDED), {"seq": 3})


@pytest.mark.parametrize("rows", [0, 1, 5000])
def test_columns_beside_those_of_a_message_that_are_taken_over_as_they_lie(rows: int) -> None:
    batch = reject_batch(rows)
    before = part_of(batch)
    payload = batches.encode_beside(before, batch, {"seq": 4})
    decoded, facts = batches.decode(payload, "reject")
    assert decoded.equals(batch) and decoded.schema.equals(REJECTS, check_metadata=True) and facts == {"seq": 4}
    framed, taken_over = framing.taken_apart(payload), framing.taken_apart(before)
    assert framed is not None and taken_over is not None and framed.columns[:-1] == taken_over.columns
    assert unpacked(payload)[2] == framing.unpacked(framing.columns_of(batch.select(ADDED)).schema)
    again = batches.encode_beside(payload, batch, {})  # nothing is left to add
    assert batches.decode(again, "reject")[0].equals(batch)


def test_beside_a_message_of_before_there_were_frames_all_is_written() -> None:
    batch = reject_batch(3)
    before = written_plain(batch.drop_columns(ADDED), b"{}")
    assert batches.encode_beside(before, batch, {"seq": 4}) == batches.encode(batch, {"seq": 4})


def test_columns_that_a_message_of_an_earlier_version_lacks_are_written_beside_it() -> None:
    batch = reject_batch(3)
    before = batches.encode(batch.drop_columns(["export_sequence", *ADDED]), {})
    assert batches.decode(batches.encode_beside(before, batch, {}), "reject")[0].equals(batch)


def test_columns_side_by_side_that_do_not_fit_are_refused() -> None:
    batch = reject_batch(3)
    whole, part, facts = batch.drop_columns(ADDED), batch.select(ADDED), framing.frame(b"{}")

    def side_by_side(*parts: pa.RecordBatch) -> bytes:
        return framing.framed([framing.columns_of(each) for each in parts], facts)

    assert batches.decode(side_by_side(part, whole), "reject")[0].equals(batch)
    with pytest.raises(BadData):
        batches.decode(side_by_side(whole, part.slice(1)), "reject")
    for parts in ((batch, part), (whole, part, part), (whole, part.rename_columns(["x", "y", "z"]))):
        with pytest.raises((BadData, SchemaMismatch)):
            batches.decode(side_by_side(*parts), "reject")
    texts = batch.select(["detail", "record"]).add_column(0, "reason", pa.array([1, 2, 3]))
    with pytest.raises(SchemaMismatch, match="reason: got int64"):
        batches.decode(side_by_side(whole, texts), "reject")


@pytest.mark.parametrize("stated", [0, 7, 8_000, 1_000_000])
def test_a_frame_of_another_size_than_it_says_is_bad_data(stated: int) -> None:
    """Where it has less, nothing that was in memory comes as rows."""
    schema, rows = framing.columns_of(reject_batch(30))
    facts = framing.frame(b"{}")
    for columns, said in (((schema, rows._replace(size=stated)), facts), ((schema, rows), facts._replace(size=stated))):
        with pytest.raises(BadData, match="bytes in a frame of"):
            batches.decode(framing.framed([framing.Columns(*columns)], said), "reject")


def test_frames_that_are_small_each_and_too_much_together_are_refused_unread() -> None:
    schema, rows = framing.columns_of(reject_batch(3))
    part = framing.Columns(schema, rows._replace(size=framing.MAX_UNPACKED_BYTES // 2))
    with pytest.raises(BadData, match="unpacked, expected at most 67108864"):
        batches.decode(framing.framed([part, part], framing.frame(b"{}")), "reject")


def test_only_what_comes_from_a_topic_is_bounded() -> None:
    """A saved state may have more: half a million suspects wait in the largest."""
    batch, facts = reject_batch(3), {"padding": "x" * framing.MAX_UNPACKED_BYTES}
    payload = batches.encode(batch, facts)
    with pytest.raises(BadData, match="unpacked, expected at most 67108864"):
        batches.decode(payload, "reject")
    decoded, stated = batches.decode(payload, "reject", max_bytes=None)
    assert decoded.equals(batch) and stated == facts


def test_a_frame_that_would_unpack_to_more_than_a_message_may_have_is_refused_unread() -> None:
    schema, rows = framing.columns_of(reject_batch(3))
    for size in (framing.MAX_UNPACKED_BYTES + 1, 2**32 - 1):
        large = framing.Frame(rows.packed, size)
        for columns, facts in (
            ((schema, large), framing.frame(b"{}")),
            ((schema, rows), large),
            ((large, rows), large),
        ):
            with pytest.raises(BadData, match="unpacked, expected at most 67108864"):
                batches.decode(framing.framed([framing.Columns(*columns)], facts), "reject")


def test_other_columns_are_refused_by_name() -> None:
    payload = batches.encode(batches.empty("flow"), {})
    with pytest.raises(SchemaMismatch, match=r"reason: got nothing, expected string"):
        batches.decode(payload, "reject")


def test_a_message_of_an_earlier_version_has_nulls_for_what_it_lacks() -> None:
    now = reject_batch(3)
    before = now.drop_columns(["export_sequence", "exporter_addr"])
    decoded, _ = batches.decode(batches.encode(before, {}), "reject")
    assert decoded.equals(now)
    with pytest.raises(SchemaMismatch, match="reason: got nothing"):
        batches.decode(batches.encode(before.drop_columns(["reason"]), {}), "reject")


def test_the_matrix_of_an_earlier_version_stays_where_it_was() -> None:
    rows = batches.empty("features", 4)
    before = rows.drop_columns(["export_also"])
    assert batches.widened(before, "features").schema.equals(rows.schema)
    assert batches.widened(rows, "features") is rows


def test_the_matrix_is_a_view_of_what_was_unpacked() -> None:
    values = np.arange(12, dtype=np.float32).reshape(3, 4)
    schema = arrow_schema("features", 4)
    plain = list(schema)[:-1]
    columns = [
        pa.nulls(3, f.type)
        if f.nullable
        else pa.array([""] * 3 if pa.types.is_string(f.type) else [0] * 3).cast(f.type)
        for f in plain
    ]
    batch = pa.RecordBatch.from_arrays([*columns, batches.matrix_column(values)], schema=schema)
    decoded, _ = batches.decode(batches.encode(batch, {}), "features")
    got = batches.matrix(decoded)
    assert np.array_equal(got, values)
    assert got.ctypes.data == decoded.column("features").values.buffers()[1].address
    assert np.array_equal(batches.matrix(decoded.slice(1, 2)), values[1:])


@given(st.binary(max_size=300))
def test_noise_is_bad_data(noise: bytes) -> None:
    with pytest.raises(BadData):
        batches.decode(noise, "reject")


@given(st.data())
def test_a_damaged_message_is_refused_or_read_never_a_crash(data: st.DataObject) -> None:
    batch = reject_batch(4)
    written = [batches.encode(batch, {}), batches.encode_beside(part_of(batch), batch, {}), written_plain(batch, b"{}")]
    payload = bytearray(data.draw(st.sampled_from(written)))
    cut = data.draw(st.integers(0, len(payload)))
    at = data.draw(st.integers(0, len(payload) - 1))
    payload[at] ^= data.draw(st.integers(1, 255))
    refused_or_read(bytes(payload[:cut]))


@given(st.data())
def test_so_is_one_of_which_a_frame_holds_something_else(data: st.DataObject) -> None:
    """Damaged before it was packed, so that nothing but what Arrow says of it is wrong."""
    framed = framing.taken_apart(batches.encode_beside(part_of(reject_batch(4)), reject_batch(4), {"seq": 4}))
    assert framed is not None
    frames = [framing.unpacked(each).to_pybytes() for pair in framed.columns for each in pair]
    frames.append(framing.unpacked(framed.facts).to_pybytes())
    number = data.draw(st.integers(0, len(frames) - 1))
    held = bytearray(frames[number])
    for _ in range(data.draw(st.integers(1, 4))):
        held[data.draw(st.integers(0, len(held) - 1))] = data.draw(st.sampled_from([0, 1, 127, 128, 255]))
    cut = data.draw(st.sampled_from([len(held)] * 9 + [len(held) // 2]))
    frames[number] = bytes(held[:cut])
    *pairs, facts = [framing.frame(each) for each in frames]
    columns = [framing.Columns(*pair) for pair in zip(pairs[::2], pairs[1::2], strict=True)]
    refused_or_read(framing.framed(columns, facts))


def refused_or_read(payload: bytes) -> None:
    try:
        batch, _ = batches.decode(payload, "reject")
    except ForebayError as error:
        assert str(error)
    else:
        batch.to_pylist()
