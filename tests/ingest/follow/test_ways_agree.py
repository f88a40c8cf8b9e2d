"""A file, the same bytes through a pipe, and a follower of the file: the same flows and as many rejects."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.ingest.files.offline_rows import decode_source
from pipeline.ingest.files.reading import read_file
from pipeline.ingest.files.send_stream import RecordStream
from pipeline.ingest.files.source_file import SourceFile
from pipeline.ingest.files.source_set import SourceSet
from pipeline.ingest.follow.records import cut, layout_of
from tests.ingest.csv_records import NFDUMP_LONG
from tests.ingest.files.as_found import FORMATS, TABLES, json_lines, table, text_of
from tests.ingest.files.test_as_found import DIFFERENT, WRAPPERS
from tests.ingest.files.test_send_stream import Pipe, to_its_end
from tests.ingest.files.test_send_stream import pipe as pipe
from tests.ingest.records import EVE, SENT_US, ZEEK

SUMMARY = "Summary\nflows,bytes,packets\n1,430,5\n"


def contents() -> Iterator[tuple[str, bytes]]:
    for name, (kind, record) in FORMATS.items():
        text = text_of(kind, record, record)
        yield f"{name}, CRLF", text.replace("\n", "\r\n").encode()
        yield f"{name}, twice with marks", ("\ufeff" + text).encode() * 2
        yield f"{name}, zeros between", text.encode() + bytes(100) + text.encode()
        yield f"{name}, blank lines", f"\n\n{text}\n\n".encode()
        yield f"{name}, text before and behind", f"INFO start\nWARN x\n{text}INFO end\n".encode()
        yield f"{name}, end mark of DOS", text.encode() + b"\x1a"
        yield f"{name}, no last line end", text.rstrip("\n").encode()
    for name, (_, record) in TABLES.items():
        for separator in (";", "\t", "|"):
            yield f"{name}, {separator!r}", table(record, record, separator=separator).encode()
        yield f"{name}, two headers", (table(record) + table(DIFFERENT[name])).encode()
        yield f"{name}, truncated", table(record, record)[:-12].encode()
        quoted = [",".join(f'"{cell}"' for cell in cells) for cells in (record, record.values())]
        yield f"{name}, quoted", "\n".join(quoted).encode()
    for name, wrapper in WRAPPERS.items():
        yield f"in {name}", json_lines(wrapper, wrapper).encode()
    yield "summaries of nfdump", ((table(NFDUMP_LONG) + SUMMARY) * 2).encode()
    yield "alerts beside flows", json_lines({**EVE, "event_type": "alert"}, EVE, {"event_type": "stats"}).encode()
    yield "pmacct's marks before flows", json_lines({"event_type": "purge_init"}, FORMATS["pmacct+json"][1]).encode()
    yield "other logs before flows", json_lines({"ts": 1.0, "query": "x"}, ZEEK).encode()


CONTENTS = dict(contents())


def outcome(files: list[SourceFile]) -> tuple[list[Any], int]:
    source = SourceSet.joined([SourceSet.of([file]) for file in files])
    decoded = decode_source(source, "dam", "gate", SENT_US, 0)
    names = ("start_ts_us", "end_ts_us", "fwd_bytes", "rev_bytes", "fwd_pkts", "quality")
    return sorted(map(json.dumps, decoded.flows.select(names).to_pylist())), decoded.rejects.num_rows


@pytest.mark.parametrize("name", CONTENTS)
def test_a_file_a_pipe_and_a_follower_agree(name: str, pipe: Pipe, tmp_path: Path) -> None:
    content = CONTENTS[name]
    path = tmp_path / "x.log"
    path.write_bytes(content)
    whole = outcome(list(read_file(path).files))
    assert whole[0]
    pipe.write(content)
    pipe.close()
    assert outcome(to_its_end(RecordStream())) == whole
    layout = layout_of(content, None, True)
    assert layout is not None
    runs = cut(layout, content, final=True, judged=True).runs
    followed = [SourceFile(run.content_type, run.columns, run.records, np.arange(len(run.records))) for run in runs]
    assert outcome(followed) == whole
