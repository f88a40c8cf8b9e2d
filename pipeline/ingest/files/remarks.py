"""What a file's flows say about the sensor that wrote them, each once: what to put right there."""

import pyarrow as pa
import pyarrow.compute as pc

# Of a sensor that sees one bad checksum in so many flows the network may be at fault; of more, it is the sensor's host.
_BAD_CHECKSUM_SHARE = 0.5


def remarks(flows: pa.RecordBatch) -> list[str]:
    """Sentences about the flows as a whole (schema `flow`)."""
    if not flows.num_rows:
        return []
    said = []
    of_zeek = flows.filter(pc.and_(pc.equal(flows["source_type"], "zeek"), pc.is_valid(flows["history"])))
    blind = pc.and_(
        pc.match_substring_regex(of_zeek["history"], "[Cc]"),
        pc.equal(pc.add(of_zeek["fwd_bytes"], of_zeek["rev_bytes"]), 0),
    )
    count = _true(blind)
    if count and count >= _BAD_CHECKSUM_SHARE * of_zeek.num_rows:
        said.append(
            f"{flows_of(count)} no bytes and bad checksums (C in history): Zeek ignores such packets, which a "
            "network card that computes checksums itself leaves in a capture; zeek -C, or redef ignore_checksums = T"
        )
    count = _having(flows, "clock")
    if count:
        said.append(
            f"{flows_of(count)} times before 1990, or hours from when they were sent or received (quality clock): they "
            "were made of an older capture, or the clock of the exporter or sensor is wrong: set it by NTP"
        )
    count = _having(flows, "bytes_bounded")
    if count:
        said.append(
            f"{flows_of(count)} more bytes, or more payload, than their packets can hold (quality bytes_bounded): what "
            "these can hold is counted"
        )
    return said


def flows_of(count: int) -> str:
    """So many flows, and that they have something."""
    return "1 flow has" if count == 1 else f"{count:,} flows have"


def _having(flows: pa.RecordBatch, word: str) -> int:
    return _true(pc.match_substring(flows["quality"], word))


def _true(values: pa.BooleanArray) -> int:
    return int(pc.sum(values).as_py() or 0)
