"""The formats by name, as text of one line: JSON without spaces, or what the format itself prescribes."""

import json
from collections.abc import Callable
from typing import Any

from pipeline.tools.outputs.formats.cef import cef
from pipeline.tools.outputs.formats.ecs import ecs
from pipeline.tools.outputs.formats.leef import leef
from pipeline.tools.outputs.formats.misp import misp
from pipeline.tools.outputs.formats.stix import stix
from pipeline.tools.outputs.formats.text import line
from pipeline.tools.outputs.revision import Revision


def ocsf(revision: Revision) -> dict[str, Any]:
    """The revision as its event stands in topic `alerts` (OCSF 1.8.0, schemas/alert.json)."""
    return dict(revision.event)


LINES: dict[str, Callable[[Revision], str]] = {"text": line, "cef": cef, "leef": leef}
DOCUMENTS: dict[str, Callable[[Revision], dict[str, Any]]] = {"ecs": ecs, "ocsf": ocsf, "stix": stix, "misp": misp}
CONTENT_TYPES = {"stix": "application/stix+json;version=2.1"}
JSON = "application/json"


def as_line(revision: Revision, name: str) -> str:
    """The revision in a format, as one line; JSON is ASCII, with what is not ASCII escaped."""
    if name in LINES:
        return LINES[name](revision)
    return json.dumps(DOCUMENTS[name](revision), separators=(",", ":"), sort_keys=True)


def content_type(name: str) -> str:
    """What a webhook calls it."""
    return CONTENT_TYPES.get(name, JSON)
