"""Incidents as files: their documents, one a line, or a table for spreadsheets, none of whose cells is a formula."""

from collections.abc import Iterable
from typing import Any

import orjson

from pipeline.contracts.notice_words import moment
from pipeline.errors import Usage
from pipeline.tools.alerts.filters import kind_of
from pipeline.tools.alerts.incidents import Document
from pipeline.tools.spreadsheets import csv_table

JSONL, CSV = "jsonl", "csv"
FORMATS = (JSONL, CSV)
COLUMNS = (
    *("uid", "kind", "site", "sensors", "state", "listed_as", "severity", "title", "says", "class", "confidence"),
    *("techniques", "flows", "first_seen", "last_seen", "sources", "targets", "target_count", "assets", "alerts"),
    *("verdict", "verdict_by", "verdict_note", "suppressed_by"),
)


def file_of(documents: Iterable[Document], format_name: str) -> bytes:
    """The file's bytes; Usage where there is no such format."""
    if format_name == JSONL:
        return b"".join(orjson.dumps(document) + b"\n" for document in documents)
    if format_name == CSV:
        return csv_text(documents).encode()
    raise Usage(f"--format: got '{format_name}', expected one of {', '.join(FORMATS)}")


def csv_text(documents: Iterable[Document]) -> str:
    """The incidents, one a line, under a line of COLUMNS."""
    return csv_table(COLUMNS, map(_row, documents))


def _row(document: Document) -> list[Any]:
    verdict, suppressed = document["verdict"] or {}, document["suppressed"] or {}
    return [
        document["uid"],
        document["kind"],
        document["site"],
        " ".join(document["sensors"]),
        document["state"],
        kind_of(document),
        document["severity"],
        document["title"],
        document["says"],
        document["class"],
        document["confidence"],
        " ".join(each["uid"] for each in document["techniques"]),
        document["flows"],
        moment(document["first_us"]),
        moment(document["last_us"]),
        " ".join(document["sources"]),
        " ".join(document["targets"]),
        document["target_count"],
        ", ".join(each["name"] or each["address"] for each in document["assets"]),
        len(document["members"]) + document["members_left_out"],
        verdict.get("verdict"),
        verdict.get("by"),
        verdict.get("note"),
        suppressed.get("verdict_id"),
    ]
