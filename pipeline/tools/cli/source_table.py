"""The sources of the settings as rows of a table, and for machines. Pure."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from pipeline.tools.followed_files import RATE_OVER_S, FileState
from pipeline.tools.last_flows import LastFlows
from pipeline.tools.rejects.by_source import SourceRejects
from pipeline.tools.source_states import SourceState
from schemas.intake import FileEntry, TopicSource

# Of each source so many reasons are shown; --json has all.
SHOWN_REASONS = 3
Rejects = tuple[Sequence[SourceRejects], int] | None
"""Of each source, and how many of none; None where there is no topic of rejects yet."""

TOPIC_COLUMNS = ["source", "topic", "partitions", "committed", "messages behind", "last record (UTC)"]
FILE_COLUMNS = ["source", "file", "state", "records sent", "bytes behind", "last written (UTC)", "last sent (UTC)"]


def overview_rows(found: Sequence[SourceState], rejects: Rejects, since: str) -> tuple[list[str], list[list[Any]]]:
    """Columns, and a row a source."""
    rows: list[list[Any]] = []
    for number, each in enumerate(found):
        is_file = isinstance(each.source, FileEntry)
        behind = "-" if each.behind is None else f"{each.behind} {'bytes' if is_file else 'messages'}"
        of_source = rejects[0][number] if rejects else None
        rows.append(
            [
                each.source.title,
                f"{each.rate_per_s:.1f} {'records' if is_file else 'messages'}/s",
                behind,
                _moment(each.last_us),
                "-" if of_source is None else _counted(of_source),
            ]
        )
    return ["source", f"rate over {RATE_OVER_S} s", "behind", "last record (UTC)", f"rejects since {since}"], rows


def _counted(rejects: SourceRejects) -> str:
    reasons = ", ".join(f"{reason} {count}" for reason, count in rejects.reasons.most_common(SHOWN_REASONS))
    return f"{rejects.count}{'*' if rejects.shared else ''}" + (f": {reasons}" if reasons else "")


def remarks(rejects: Rejects) -> list[str]:
    """What else there is to say of the rejects."""
    if rejects is None:
        return []
    said = (
        ["* some may be another source's, which has the same names"] if any(each.shared for each in rejects[0]) else []
    )
    said += [f"{rejects[1]} rejects are of no source: `forebay rejects list` shows them"] if rejects[1] else []
    return said


def topic_rows(found: Sequence[SourceState]) -> tuple[list[str], list[list[Any]]]:
    """Columns, and a row a topic."""
    rows: list[list[Any]] = []
    for each in found:
        if isinstance(each.source, TopicSource):
            rows += [
                [
                    each.source.title,
                    state.topic,
                    len(state.lag),
                    _positions(state.committed),
                    str(sum(state.lag.values())),
                    _moment(state.last_us),
                ]
                for state in each.topics
            ] or [[each.source.title, "no such topic: create it or correct it", 0, "-", "-", "-"]]
    return TOPIC_COLUMNS, rows


def file_rows(found: Sequence[SourceState]) -> tuple[list[str], list[list[Any]]]:
    """Columns, and a row a file that is not done; of an entry whose files all are, its last one."""
    rows: list[list[Any]] = []
    for each in found:
        if isinstance(each.source, FileEntry):
            shown = [file for file in each.files if file.state != "done"] or each.files[-1:]
            rows += [_file_row(each.source, file) for file in shown] or [
                [each.source.title, "-", "nothing sent of it", 0, "-", "-", "-"]
            ]
    return FILE_COLUMNS, rows


def _file_row(source: FileEntry, file: FileState) -> list[Any]:
    behind = "?" if file.behind_bytes is None else str(file.behind_bytes)
    return [
        source.title,
        file.path,
        file.state,
        file.records,
        behind,
        _moment(file.modified_us or None),
        _moment(file.sent_us if file.records else None),
    ]


def last_lines(last: Sequence[LastFlows]) -> list[str]:
    """A line for each sensor whose last flows wait: all that was sent of them is not scored yet."""
    lines = []
    for each in last:
        until = "until more come (FOREBAY_IDLE_US=0)"
        if each.until_us is not None:
            until = f"until {_moment(each.until_us)} UTC at least where no more come"
        lines.append(f"{each.wait.whose}: its last flows are sent and wait for others {until}: {each.wait.words}")
    return lines


def document(
    found: Sequence[SourceState], rejects: Rejects, since_us: int, last: Sequence[LastFlows] = ()
) -> dict[str, Any]:
    """The same for machines."""
    sources = []
    for number, each in enumerate(found):
        of_source = rejects[0][number] if rejects else None
        counted: dict[str, Any] = {"rejects": None}
        if of_source is not None:
            counted = {
                "rejects": of_source.count,
                "rejects_by_reason": dict(of_source.reasons.most_common()),
                "rejects_shared": of_source.shared,
            }
        sources.append({**_of_source(each), **counted})
    return {
        "rate_over_s": RATE_OVER_S,
        "rejects_since_us": since_us,
        "rejects_of_no_source": rejects[1] if rejects else None,
        "sources": sources,
        "waiting": [{**each.wait.document(), "until_us": each.until_us} for each in last],
    }


def _of_source(each: SourceState) -> dict[str, Any]:
    is_file = isinstance(each.source, FileEntry)
    facts = {
        "source": each.source.title,
        "kind": "file" if is_file else "topic",
        "exists": bool(each.files if is_file else each.topics),
        "rate_per_s": each.rate_per_s,
        "behind": each.behind,
        "last_record_us": each.last_us,
    }
    if is_file:
        return {**facts, "files": [file.document() for file in each.files]}
    topics = [
        {
            "topic": state.topic,
            "partitions": [
                {"partition": partition, "committed": state.committed[partition], "behind": behind}
                for partition, behind in state.lag.items()
            ],
            "behind": sum(state.lag.values()),
            "last_record_us": state.last_us,
            "rate_per_s": state.rate_per_s,
        }
        for state in each.topics
    ]
    return {**facts, "topics": topics}


def _positions(committed: dict[int, int]) -> str:
    return ", ".join(f"{partition}: {offset if offset >= 0 else '-'}" for partition, offset in committed.items())


def _moment(time_us: int | None) -> str:
    return "-" if time_us is None else datetime.fromtimestamp(time_us / 1e6, UTC).strftime("%Y-%m-%d %H:%M:%S")
