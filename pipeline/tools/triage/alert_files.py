"""Alerts in files, an OCSF event a line, as `forebay flow score --alerts` writes them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipeline.errors import BadData
from pipeline.tools.triage.store import alert_of

MAX_LINE_BYTES = 4_194_304


def read_alerts(path: Path) -> Iterator[dict[str, Any]]:
    """The alerts of a file; BadData names the line that is none."""
    try:
        with path.open("rb") as lines:
            number = 0
            while line := lines.readline(MAX_LINE_BYTES):
                number += 1
                if not line.strip():
                    continue
                alert = alert_of(line)
                if alert is None:
                    raise BadData(
                        f"{path}, line {number}: got no alert, expected an OCSF event of ours a line; "
                        "`forebay flow score FILE --alerts OUT.jsonl` writes such a file"
                    )
                yield alert
    except OSError as error:
        raise BadData(f"{path}: got {error.strerror}, expected a file of alerts that can be read") from error
