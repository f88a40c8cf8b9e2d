"""What cannot be true of a flow, whatever its format: counts that its packets cannot have, times before there were any.

56 packets, 1,600,000,000 bytes    56 * 65,535 bytes, quality bytes_bounded
0 packets, 640 bytes               0 bytes, quality bytes_bounded, of sensors that always count packets
500 bytes, 99,999,999 of payload   500 of payload, quality bytes_bounded
1 January 1970, 00:12              quality clock
"""

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.contracts.raw import ARGUS_CSV, CICFLOWMETER_CSV, ICSFLOW_CSV, SURICATA_JSON
from pipeline.ingest.draft import Draft, Mask
from pipeline.ingest.formats.protocols import MAX_PACKET_BYTES, QUALITY, qualities
from schemas.sources import source_of

# A frame has its addresses, type, tags and check sum around an IP packet.
_MAX_FRAME_BYTES = MAX_PACKET_BYTES + 14 + 8 + 4
# 1990-01-01: before it nothing recorded flows. What says so is a clock that was never set, or a time since boot.
_FIRST_US = 631_152_000_000_000
# Where 0 packets means that there were none. Exporters write 0 for what they do not count; Zeek counts payload of
# packets that it missed.
_ALWAYS_COUNT = (SURICATA_JSON, ARGUS_CSV, CICFLOWMETER_CSV, ICSFLOW_CSV)
_SIDES = ("fwd", "rev")
# What stands for an application's protocol where the sensor recognised none.
_NO_PROTOCOL = pa.array(["failed", "unknown", "none", "n/a", "undetermined"])


def bound(draft: Draft, content_type: str) -> None:
    """Bound what cannot be, and give it its quality words; rows without `quality` have none of it."""
    if "quality" not in draft.columns or not draft.count:
        return
    if "app_proto" in draft.columns:
        names = draft.columns["app_proto"]
        unknown = pc.is_in(pc.utf8_lower(names), _NO_PROTOCOL)
        if pc.any(unknown).as_py():
            draft.columns["app_proto"] = pc.if_else(unknown, None, names)
    words: dict[str, Mask] = {}
    clock = draft.columns["start_ts_us"].to_numpy(zero_copy_only=False) < _FIRST_US
    if clock.any():
        words["clock"] = clock
    if "fwd_bytes" in draft.columns:
        bounded = _bounded(draft, content_type)
        if bounded.any():
            words["bytes_bounded"] = bounded
    if words:
        draft.columns["quality"] = with_words(draft.columns["quality"], words)


def _most(draft: Draft, content_type: str) -> npt.NDArray[np.uint64]:
    """How many bytes a packet of each row can have: of a frame more, whatever its neighbours are."""
    if "byte_semantics" in draft.columns:
        frames = pc.equal(draft.columns["byte_semantics"], "frame").to_numpy(zero_copy_only=False)
    else:
        frames = np.full(draft.count, source_of(content_type).constants["byte_semantics"] == "frame")
    return np.where(frames, np.uint64(_MAX_FRAME_BYTES), np.uint64(MAX_PACKET_BYTES))


def _bounded(draft: Draft, content_type: str) -> Mask:
    most = _most(draft, content_type)
    bounded = np.zeros(draft.count, np.bool_)
    for side in _SIDES:
        octets, packets = _numbers(draft, f"{side}_bytes"), _numbers(draft, f"{side}_pkts")
        over = octets > most
        if over.any():
            over &= (packets > 0) & (octets // most >= packets) & (octets > packets * most)
        if content_type in _ALWAYS_COUNT:
            over |= (octets > 0) & (packets == 0)
        if over.any():
            octets = np.where(over, packets * most, octets)
            draft.put(f"{side}_bytes", octets)
            bounded |= over
        bounded |= _payload_bounded(draft, side, octets)
    return bounded


def _payload_bounded(draft: Draft, side: str, octets: npt.NDArray[np.uint64]) -> Mask:
    column = draft.columns.get(f"{side}_payload_bytes")
    if column is None or column.null_count == draft.count:
        return np.zeros(draft.count, np.bool_)
    payload = _numbers(draft, f"{side}_payload_bytes")
    over: Mask = payload > octets
    if over.any():
        draft.put(
            f"{side}_payload_bytes", np.minimum(payload, octets), column.is_valid().to_numpy(zero_copy_only=False)
        )
    return over


def _numbers(draft: Draft, name: str) -> npt.NDArray[np.uint64]:
    column = draft.columns[name]
    numbers: npt.NDArray[np.uint64] = (
        (column.fill_null(0) if column.null_count else column).to_numpy().astype(np.uint64, copy=False)
    )
    return numbers


def with_words(quality: pa.StringArray, words: dict[str, Mask]) -> pa.StringArray:
    """The column `quality` with further words."""
    encoded = quality.dictionary_encode()
    texts = [set(filter(None, text.split(","))) for text in encoded.dictionary.to_pylist()]
    index = encoded.indices.to_numpy(zero_copy_only=False)
    masks = {
        name: np.array([name in text for text in texts], np.bool_)[index] | words.get(name, False) for name in QUALITY
    }
    return qualities(**masks)
