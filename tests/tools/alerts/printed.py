"""An incident as people read it: its line, then its page."""

import io
from typing import Any

from rich.console import Console

from pipeline.contracts.incident_joining import joined
from pipeline.tools.alerts.incidents import document
from pipeline.tools.alerts.lines import line, page


def printed(*alerts: dict[str, Any], width: int = 300, terminal: bool = True) -> str:
    """What `alert list` and `alert show` print of the one incident that alerts make."""
    (incident,) = joined(alerts)
    made = document(incident)
    console = Console(file=io.StringIO(), force_terminal=terminal, width=width, color_system=None)
    for part in (line(made, width), *page(incident, made)):
        console.print(part, soft_wrap=True)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()
