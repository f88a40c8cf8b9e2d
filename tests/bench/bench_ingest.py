"""How many records a second one core decodes: each record a raw message of its own, 16,384 a call.

Run it by hand: `python -m tests.bench.bench_ingest`. CPU time, best of five, after the first call has compiled. Beside
it, what a call costs that has 64 records of Zeek: best of a hundred.
"""

import json
import time

from pipeline.contracts.raw import ICSFLOW_CSV, SURICATA_JSON, ZEEK_JSON, ZEEK_TSV, SourceInfo
from pipeline.ingest.decode import decode_messages
from pipeline.ingest.messages import Messages, RawMessage
from pipeline.ingest.pack import pack
from pipeline.ingest.scan.lines import cut_lines
from pipeline.runtime.wire.messages import write
from pipeline.tools.cli.output import emit
from tests.ingest.records import EVE, ICSFLOW, MAX_FUTURE_US, SENT_US, ZEEK

MESSAGES = 16_384
ROUNDS = 5
FEW_MESSAGES = 64
FEW_ROUNDS = 100


def messages_of(record: bytes, content_type: str, columns: tuple[str, ...] = ()) -> Messages:
    stream = SourceInfo(content_type, columns, "plant", "sensor")
    return Messages.of([RawMessage(0, at, SENT_US, stream, record, at.to_bytes(8, "little")) for at in range(MESSAGES)])


def records_per_s(messages: Messages) -> int:
    best = 0.0
    for _ in range(ROUNDS + 1):
        started = time.process_time()
        decoded = decode_messages(messages, MAX_FUTURE_US)
        for message in pack(messages, decoded, 4096):
            write(message.flows, message.facts)
        best = max(best, len(messages) / (time.process_time() - started))
        assert decoded.flows.num_rows == len(messages)
    return round(best)


def few_records_ms(messages: Messages) -> float:
    best = float("inf")
    for _ in range(FEW_ROUNDS):
        started = time.thread_time()
        decode_messages(messages, MAX_FUTURE_US)
        best = min(best, (time.thread_time() - started) * 1000)
    return round(best, 2)


def main() -> None:
    """Print one figure a format, and the milliseconds of a call with few records."""
    cut_lines([b"a"])
    formats = {
        ZEEK_JSON: (json.dumps(ZEEK).encode(), ()),
        ZEEK_TSV: ("\t".join(map(str, ZEEK.values())).encode(), tuple(ZEEK)),
        SURICATA_JSON: (json.dumps(EVE).encode(), ()),
        ICSFLOW_CSV: (",".join(ICSFLOW.values()).encode(), tuple(ICSFLOW)),
    }
    rates = {name: records_per_s(messages_of(record, name, columns)) for name, (record, columns) in formats.items()}
    few = messages_of(formats[ZEEK_JSON][0], ZEEK_JSON).part(0, FEW_MESSAGES)
    emit({**rates, "few_records_ms": few_records_ms(few)})


if __name__ == "__main__":
    main()
