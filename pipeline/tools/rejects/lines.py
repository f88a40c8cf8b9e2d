"""Rejects for people: one line, made printable; and for machines. Pure."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from pipeline.ingest.files.source_check import remedy_of
from pipeline.ingest.reasons import REASONS
from pipeline.runtime.terminal import printable
from pipeline.tools.rejects.summary import Group, Summary

MAX_DETAIL = 300
MAX_RECORD = 120
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def moment(time_us: int) -> str:
    """A time in UTC, to the second; the number itself where no calendar has it."""
    try:
        return (_EPOCH + timedelta(microseconds=time_us)).strftime("%Y-%m-%d %H:%M:%S")
    except OverflowError:
        return str(time_us)


def line(reject: Mapping[str, Any]) -> str:
    """One reject in one line: when, who sent it, why and what was got where, and the record's first characters."""
    who = f"{reject['site'] or '-'}/{reject['sensor'] or '-'}"
    record = _text(reject["record"][: MAX_RECORD + 1])
    return (
        f"{moment(reject['ingest_ts_us'])} {printable(who, MAX_DETAIL)} {printable(reject['reason'], MAX_RECORD)}: "
        f"{printable(reject['detail'], MAX_DETAIL)}: {printable(record, MAX_RECORD)}"
    )


def group_rows(groups: list[Group]) -> list[list[Any]]:
    """The groups as rows of a table: count, site, sensor, reason, first, last, an example's detail."""
    return [
        [
            group.count,
            group.site or "-",
            group.sensor or "-",
            group.reason,
            moment(group.first_us),
            moment(group.last_us),
            printable(group.detail, MAX_DETAIL),
        ]
        for group in groups
    ]


def advice(groups: list[Group]) -> list[tuple[str, str, str]]:
    """Of each reason among the groups, in their order: reason, what is expected, what to do."""
    reasons = dict.fromkeys(group.reason for group in groups)
    return [(reason, REASONS.get(reason, "-"), remedy_of(reason)) for reason in reasons]


def document(reject: Mapping[str, Any]) -> dict[str, Any]:
    """One reject for machines; bytes of its record that are no UTF-8 are spelled out."""
    return {**reject, "record": _text(reject["record"])}


def summary_document(summary: Summary) -> dict[str, Any]:
    """All that was counted, for machines."""
    groups = summary.groups()
    return {
        "rejects": summary.rejects,
        "others": summary.others,
        "groups": groups,
        "reasons": {reason: {"expected": expected, "remedy": remedy} for reason, expected, remedy in advice(groups)},
        "last": [document(reject) for reject in summary.last()],
    }


def _text(record: bytes) -> str:
    return record.decode("utf-8", "backslashreplace")
