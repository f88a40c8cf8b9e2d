"""Good records of every format, and how a file of them is written: what the tests of files as found vary."""

import json
from collections.abc import Mapping
from typing import Any

from pipeline.contracts.raw import (
    ARGUS_CSV,
    CICFLOWMETER_CSV,
    GOFLOW2_JSON,
    ICSFLOW_CSV,
    IPFIXCOL2_JSON,
    NFDUMP_CSV,
    NFDUMP_JSON,
    PMACCT_JSON,
    SURICATA_JSON,
    ZEEK_JSON,
    ZEEK_TSV,
)
from tests.ingest.csv_records import ARGUS, CICFLOWMETER, CICFLOWMETER_3, NFDUMP_LONG, NFDUMP_SHORT
from tests.ingest.exporter_records import GOFLOW2, IPFIXCOL2, NFDUMP, PMACCT
from tests.ingest.records import EVE, ICSFLOW, ZEEK

Record = Mapping[str, Any]

JSON_RECORDS: dict[str, Record] = {
    ZEEK_JSON: ZEEK,
    SURICATA_JSON: EVE,
    GOFLOW2_JSON: GOFLOW2,
    PMACCT_JSON: PMACCT,
    NFDUMP_JSON: NFDUMP,
    IPFIXCOL2_JSON: IPFIXCOL2,
}
# By name: two versions of a program may be one format.
TABLES: dict[str, tuple[str, Record]] = {
    "argus": (ARGUS_CSV, ARGUS),
    "cicflowmeter": (CICFLOWMETER_CSV, CICFLOWMETER),
    "cicflowmeter 3": (CICFLOWMETER_CSV, {name: CICFLOWMETER[of] for name, of in CICFLOWMETER_3.items()}),
    "nfdump 1.6": (NFDUMP_CSV, NFDUMP_LONG),
    "nfdump 1.7.5": (NFDUMP_CSV, NFDUMP_SHORT),
    "icsflow": (ICSFLOW_CSV, ICSFLOW),
}
FORMATS: dict[str, tuple[str, Record]] = {
    **{kind: (kind, record) for kind, record in JSON_RECORDS.items()},
    ZEEK_TSV: (ZEEK_TSV, ZEEK),
    **TABLES,
}


def json_lines(*records: Any) -> str:
    """Records, or texts as they are, a line each."""
    return "".join((record if isinstance(record, str) else json.dumps(record)) + "\n" for record in records)


def table(*records: Record, separator: str = ",") -> str:
    """A header and rows."""
    rows = [separator.join(records[0]), *(separator.join(map(str, record.values())) for record in records)]
    return "\n".join(rows) + "\n"


def zeek_log(*records: Record, path: str = "conn") -> str:
    """A log in Zeek's TSV."""
    head = "#separator \\x09\n" + (f"#path\t{path}\n" if path else "")
    return head + "#fields\t" + table(*records, separator="\t")


def text_of(kind: str, *records: Record) -> str:
    """A file of a format with these records."""
    if kind == ZEEK_TSV:
        return zeek_log(*records)
    return table(*records) if kind.endswith("+csv") else json_lines(*records)
