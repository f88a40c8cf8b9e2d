"""CSV of Argus, CICFlowMeter and nfdump on real files: every line a flow, as the plain decoders have it."""

from collections import Counter
from typing import Any

from pipeline.contracts.raw import ARGUS_CSV, CICFLOWMETER_CSV, NFDUMP_CSV
from pipeline.ingest.formats.registry import FORMATS
from tests.ingest.files.one_source import read_records
from tests.ingest.files.test_files import decoded
from tests.ingest.records import decode
from tests.ingest.test_against_oracle import agree
from tests.ingest.test_csv_sources import CASES
from tests.real_records import FOLDER, needs


def _counts(values: Any) -> dict[Any, int]:
    return dict(Counter(values.to_pylist()))


@needs("formats", "real files of Argus, CICFlowMeter and nfdump are decoded as the plain decoders read them")
def test_real_files() -> None:
    folder = FOLDER / "formats"
    files = {
        ARGUS_CSV: [*folder.glob("argus/**/*.binetflow"), *folder.glob("argus/**/*.csv")],
        CICFLOWMETER_CSV: [*folder.glob("cicflowmeter/*.csv")],
        NFDUMP_CSV: [*folder.glob("nfdump/**/*.csv")],
    }
    assert all(len(paths) >= 2 for paths in files.values())
    for content_type, paths in files.items():
        for path in paths:
            result = decoded(path)
            assert result.content_type == content_type
            assert result.records == result.flows.num_rows > 0, (path, _counts(result.rejects["reason"]))
            source = read_records(path)
            names = FORMATS[content_type].heading(source.columns)
            rows = [
                {
                    name: cell.strip(" ") or None
                    for name, cell in zip(source.columns, line.decode().split(","), strict=True)
                }
                for line in source.records
            ]
            read = [
                {
                    canonical if content_type != NFDUMP_CSV else name: row[name]
                    for name, canonical in zip(row, names, strict=True)
                }
                for row in rows
            ]
            judge = next(judge for kind, _, judge in CASES.values() if kind == content_type)
            agree(read, decode(source.records, content_type, source.columns), judge)


@needs("formats", "one capture read by Argus and by nfdump is the same flows")
def test_one_capture_by_both_tools() -> None:
    folder = FOLDER / "formats"
    argus = decoded(folder / "argus/derived/lemay-fake-command.argus.csv").flows
    nfdump = decoded(folder / "nfdump/derived/lemay-fake-command.nfdump.csv").flows
    by_argus = Counter((row["src_addr"], row["src_port"]) for row in argus.to_pylist() if row["dst_port"] == 502)
    by_nfdump = Counter((row["src_addr"], row["src_port"]) for row in nfdump.to_pylist() if row["dst_port"] == 502)
    assert by_argus.keys() == by_nfdump.keys() and len(by_argus) > 1000
    # nfdump counts IP bytes, Argus frames: 14 bytes more a packet.
    argus_flow = next(row for row in argus.to_pylist() if row["dst_port"] == 502 and row["fwd_pkts"] == 5)
    nfdump_flow = next(
        row for row in nfdump.to_pylist() if (row["src_port"], row["dst_port"]) == (argus_flow["src_port"], 502)
    )
    assert (
        argus_flow["fwd_bytes"] == nfdump_flow["fwd_bytes"] + 14 * nfdump_flow["fwd_pkts"]
        and nfdump_flow["fwd_pkts"] == 5
    )
