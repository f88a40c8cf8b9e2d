"""The sources of the settings as rows of a table, and for machines. Pure."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from pipeline.tools.followed_files import FileState
from pipeline.tools.source_states import SourceState
from schemas.intake import FileEntry, TopicSource

TOPIC_COLUMNS = ["source", "topic", "partitions", "committed", "behind", "last record (UTC)"]
FILE_COLUMNS = ["source", "file", "state", "records sent", "bytes behind", "last record (UTC)", "last sent (UTC)"]


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
        _moment(file.committed_us),
    ]


def document(each: SourceState) -> dict[str, Any]:
    """The same for machines."""
    if isinstance(each.source, FileEntry):
        return {
            "source": each.source.title,
            "kind": "file",
            "exists": bool(each.files),
            "files": [file.document() for file in each.files],
        }
    return {
        "source": each.source.title,
        "kind": "topic",
        "exists": bool(each.topics),
        "topics": [
            {
                "topic": state.topic,
                "partitions": [
                    {"partition": partition, "committed": state.committed[partition], "behind": behind}
                    for partition, behind in state.lag.items()
                ],
                "behind": sum(state.lag.values()),
                "last_record_us": state.last_us,
            }
            for state in each.topics
        ],
    }


def _positions(committed: dict[int, int]) -> str:
    return ", ".join(f"{partition}: {offset if offset >= 0 else '-'}" for partition, offset in committed.items())


def _moment(time_us: int | None) -> str:
    return "-" if time_us is None else datetime.fromtimestamp(time_us / 1e6, UTC).strftime("%Y-%m-%d %H:%M:%S")
