"""The inventory of closed files as bytes, so that the next command reads only what was archived since."""

import hashlib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import orjson
import pyarrow as pa

from pipeline.tools.assets.inventory import Inventory
from pipeline.tools.assets.sightings import KINDS, schema_of

SOURCES = (
    *(("pipeline.tools.assets", name) for name in ("sightings.py", "inventory.py", "inventory_file.py")),
    *(("pipeline.contracts", name) for name in ("services.py", "public_addresses.py", "group_addresses.py")),
    ("pipeline.featurize", "addresses.py"),
)
"""The code that decides what an inventory of given rows is: where any of it changed, the bytes are of no use."""
_META, _SCHEMA = "meta", pa.schema([("meta", pa.binary()), *((kind.name, pa.large_binary()) for kind in KINDS)])


@dataclass(frozen=True, slots=True)
class ClosedInventory:
    """The inventory of closed files; hashes: SHA-256 of each, as the manifests have it; rows: how many in all."""

    hashes: frozenset[str]
    rows: int
    inventory: Inventory


def encode(closed: ClosedInventory) -> memoryview:
    """The bytes of an Arrow file."""
    room = [[site, kind, count] for (site, kind), count in sorted(closed.inventory.no_room.items())]
    meta = {"version": _version(), "hashes": sorted(closed.hashes), "rows": closed.rows, "no_room": room}
    row: dict[str, Any] = {_META: orjson.dumps(meta)}
    for kind in KINDS:
        table = closed.inventory.table(kind)
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, table.schema) as stream:
            stream.write_table(table)
        row[kind.name] = sink.getvalue().to_pybytes()
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, _SCHEMA) as file:
        file.write_batch(pa.RecordBatch.from_pylist([row], schema=_SCHEMA))
    return memoryview(sink.getvalue())


def decode(data: bytes) -> ClosedInventory | None:
    """The inventory in such bytes; None where they are damaged, or of another version of the code."""
    try:
        [row] = pa.ipc.open_file(data).read_all().to_pylist()
        meta = orjson.loads(row[_META])
        if meta["version"] != _version():
            return None
        tables = {kind.name: pa.ipc.open_stream(row[kind.name]).read_all().combine_chunks() for kind in KINDS}
        if any(tables[kind.name].schema != schema_of(kind) for kind in KINDS):
            return None
        no_room = {(site, kind): int(count) for site, kind, count in meta["no_room"]}
        return ClosedInventory(frozenset(meta["hashes"]), int(meta["rows"]), Inventory.restored(tables, no_room))
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError):
        return None


@cache
def _version() -> str:
    digest = hashlib.sha256()
    for package, name in SOURCES:
        digest.update(files(package).joinpath(name).read_bytes())
    return digest.hexdigest()
