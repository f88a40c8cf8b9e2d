"""Whether an alert that is about to be sent is what its schema says. A violation is our mistake: it stops the stage."""

from collections.abc import Mapping
from typing import Any

from pipeline.errors import Failed
from schemas.validation import violation


def require_valid(event: Mapping[str, Any]) -> None:
    """Failed where an event violates `schemas/alert.json`."""
    problem = violation(event, "alert")
    if problem is not None:
        raise Failed(f"alert: {problem}; expected a document of schemas/alert.json; nothing was sent, report this")
