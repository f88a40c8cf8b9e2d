"""Messages as earlier versions wrote them; topics hold them for as long as 30 days, and saved states until the next."""

import pyarrow as pa

from pipeline.tools.inference.arrow_bodies import END_OF_STREAM


def written_plain(batch: pa.RecordBatch, facts: bytes) -> bytes:
    """An Arrow stream, the facts, their length and a mark: as it was before there were frames."""
    bare = pa.schema([pa.field(field.name, field.type, field.nullable) for field in batch.schema])
    parts = (bare.serialize(), batch.serialize(), END_OF_STREAM, facts, len(facts).to_bytes(4, "little"))
    return b"".join((*parts, b"FBY1"))


def written_with_facts_in_its_schema(batch: pa.RecordBatch, facts: bytes) -> bytes:
    """The schema as it is declared, with the facts in its metadata, and nothing behind the stream."""
    schema = batch.schema.with_metadata({**(batch.schema.metadata or {}), b"forebay": facts})
    return b"".join((schema.serialize(), batch.serialize(), END_OF_STREAM))
