"""Schemas as data: each `<name>.toml` of this folder is a table of fields, turned into an Arrow schema here."""

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import pyarrow as pa

ARROW_TYPES: dict[str, pa.DataType] = {
    "bool": pa.bool_(),
    "int32": pa.int32(),
    "int64": pa.int64(),
    "uint8": pa.uint8(),
    "uint16": pa.uint16(),
    "uint32": pa.uint32(),
    "uint64": pa.uint64(),
    "float32": pa.float32(),
    "float64": pa.float64(),
    "string": pa.string(),
    "binary": pa.binary(),
    "list<uint32>": pa.list_(pa.field("item", pa.uint32(), nullable=False)),
    "list<int64>": pa.list_(pa.field("item", pa.int64(), nullable=False)),
}


@dataclass(frozen=True, slots=True)
class Field:
    """One field: its Arrow type, unit, range and nullability."""

    name: str
    type: str
    doc: str
    unit: str = ""
    null: bool = False
    min: int | None = None
    max: int | None = None
    enum: tuple[str, ...] = ()
    ipfix: int | None = None

    @property
    def arrow(self) -> pa.Field:
        """The Arrow field; unit and doc travel as its metadata."""
        metadata = {key: value for key, value in (("unit", self.unit), ("doc", self.doc)) if value}
        return pa.field(self.name, ARROW_TYPES[self.type], nullable=self.null, metadata=metadata)


@dataclass(frozen=True, slots=True)
class Table:
    """A named, versioned table of fields; `extends` names the table whose fields come first."""

    name: str
    version: int
    fields: tuple[Field, ...]

    @property
    def arrow(self) -> pa.Schema:
        """The Arrow schema; name and version travel as its metadata."""
        return pa.schema(
            [field.arrow for field in self.fields], metadata={"name": self.name, "version": str(self.version)}
        )

    def field(self, name: str) -> Field:
        """The field of that name; KeyError if there is none."""
        for field in self.fields:
            if field.name == name:
                return field
        raise KeyError(name)


def _field(entry: dict[str, Any]) -> Field:
    return Field(**{**entry, "enum": tuple(entry.get("enum", ()))})


@cache
def load(name: str) -> Table:
    """The table in `<name>.toml`: `flow`, `reject`, `features` or `scored`."""
    document = tomllib.loads(files("schemas").joinpath(f"{name}.toml").read_text(encoding="utf-8"))
    inherited = load(document["extends"]).fields if "extends" in document else ()
    added = tuple(_field(entry) for entry in document.get("field", []))
    return Table(document["name"], document["version"], inherited + added)


@cache
def arrow_schema(name: str, features: int = 0) -> pa.Schema:
    """The Arrow schema of a table; with `features` = F > 0 a FixedSizeList<float32>[F] column comes last."""
    schema = load(name).arrow
    if features:
        column = pa.field(
            "features", pa.list_(pa.field("item", pa.float32(), nullable=False), features), nullable=False
        )
        schema = schema.append(column)
    return schema
