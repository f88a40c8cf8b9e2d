"""A message between two stages: its record batch and its typed facts, as the bytes in Kafka and back.

`batches` knows Arrow, `contracts.envelope` knows the facts; this is where every stage gets both at once.
"""

from typing import ClassVar, Protocol, TypeVar

import pyarrow as pa

from pipeline.contracts.envelope import MessagePosition
from pipeline.errors import BadData, BadEnvelope, SchemaMismatch
from pipeline.runtime.wire import batches, framing

FactsType = TypeVar("FactsType", bound="Facts")


class Facts(Protocol):
    """The interface that the envelope's types share."""

    schema_name: ClassVar[str]
    """Schema of the columns they travel with."""

    @property
    def raw_partition(self) -> int:
        """Partition of `raw`."""

    def document(self) -> dict[str, object]:
        """The facts as a JSON document."""

    @classmethod
    def read(cls: "type[FactsType]", document: object, where: object) -> "FactsType":
        """The facts in a JSON document; BadEnvelope where they are not whole."""


class Documented(Protocol):
    """Facts that can be written beside columns."""

    def document(self) -> dict[str, object]:
        """The facts as a JSON document."""


def pack(facts: Documented) -> framing.Frame:
    """Facts for several messages."""
    return batches.packed_facts(facts.document())


def write(batch: pa.RecordBatch, facts: Documented | framing.Frame) -> bytes:
    """The bytes of a message; equal input gives equal bytes."""
    return batches.encode(batch, _stated(facts))


def write_beside(payload: bytes, batch: pa.RecordBatch, facts: Documented | framing.Frame) -> bytes:
    """The bytes of a message with all rows of the message `payload` and all its columns, unchanged, and more.

    What is taken over is not packed again: other bytes than `write`'s, the same rows.
    """
    return batches.encode_beside(payload, batch, _stated(facts))


def _stated(facts: Documented | framing.Frame) -> batches.Facts:
    return facts if isinstance(facts, framing.Frame) else facts.document()


def is_framed(payload: bytes) -> bool:
    """Whether a message has frames; one of before there were any is an Arrow stream."""
    return payload.endswith(framing.MARK)


def read(payload: bytes, contract: type[FactsType], position: MessagePosition) -> tuple[pa.RecordBatch, FactsType]:
    """The rows and the facts of a message of the contract's schema.

    Errors begin with the message's position. Raises BadData where the bytes are no message, SchemaMismatch where
    the columns are not the schema's, BadEnvelope where the facts are not whole or of another partition.
    """
    try:
        batch, document = batches.decode(payload, contract.schema_name)
    except (BadData, SchemaMismatch) as error:
        raise type(error)(f"{position}: {error}") from error
    facts = contract.read(document, position)
    if facts.raw_partition != position.partition:
        raise BadEnvelope(
            f"{position}: fact 'raw_partition' of {contract.__name__}: got {facts.raw_partition}, expected "
            f"{position.partition}; every hop keeps the partition number: give all topics the same partition count, "
            "and look who else writes to this topic"
        )
    return batch, facts
