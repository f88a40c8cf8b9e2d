"""Where each kind of sensor has the flow table's fields: `sources/<name>.toml`, one table per source."""

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from schemas.fields import load

DERIVED = "derived"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where one field of the flow table comes from.

    `source` is the sensor's own field, "=x" a constant, "derived" what ingest computes; `unit` is the sensor's.
    """

    flow: str
    source: str
    unit: str = ""
    note: str = ""

    @property
    def constant(self) -> str | int | bool | None:
        """The constant in the field's type; None where it is none."""
        if not self.source.startswith("="):
            return None
        text, kind = self.source[1:], load("flow").field(self.flow).type
        if kind == "string":
            return text
        return text == "true" if kind == "bool" else int(text, 0)


@dataclass(frozen=True, slots=True)
class Source:
    """One kind of sensor: `name` is its flows' source_type, `bytes` what its byte counts count."""

    name: str
    title: str
    content_types: tuple[str, ...]
    bytes: str  # payload, ip, frame, or varies
    direction: str  # one-way, or both ways
    verified: str
    note: str
    origins: tuple[Origin, ...]

    def origin(self, field: str) -> Origin | None:
        """Where the source has that field of the flow table; None where it does not have it."""
        return next((origin for origin in self.origins if origin.flow == field), None)

    @property
    def constants(self) -> dict[str, str | int | bool]:
        """Fields that are the same in all its flows, where ingest finds nothing better in the record."""
        same = {origin.flow: value for origin in self.origins if (value := origin.constant) is not None}
        return {"source_type": self.name, **same}


def _source(document: dict[str, Any]) -> Source:
    entries = document.pop("field")
    origins = tuple(
        Origin(entry["flow"], entry["from"], entry.get("unit", ""), entry.get("note", "")) for entry in entries
    )
    return Source(**{"note": "", **document, "content_types": tuple(document["content_types"])}, origins=origins)


@cache
def sources() -> dict[str, Source]:
    """Every source's table by the name of its file, sorted."""
    folder = files("schemas").joinpath("sources")
    tables = sorted((path for path in folder.iterdir() if path.name.endswith(".toml")), key=lambda path: path.name)
    return {
        path.name.removesuffix(".toml"): _source(tomllib.loads(path.read_text(encoding="utf-8"))) for path in tables
    }


@cache
def source_of(content_type: str) -> Source:
    """The table of a content-type; KeyError if there is none."""
    for source in sources().values():
        if content_type in source.content_types:
            return source
    raise KeyError(content_type)
