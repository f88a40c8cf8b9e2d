"""Two archives compared: the rows first, whatever files they lie in, then the files."""

from typing import Any

import duckdb

from pipeline.archive import snapshot
from pipeline.archive.streams import TABLES
from pipeline.archive.upkeep.query import connect
from pipeline.contracts.uids import RAW_POSITION
from pipeline.runtime.storage.location import StorageLike, open_storage

MAX_NAMED = 20
POSITION = ", ".join(RAW_POSITION)


def compare(archive: StorageLike, other: StorageLike) -> dict[str, Any]:
    """Whether two archives hold the same rows in closed files, and the same files.

    `ok`: equal rows and equal files. `rows`: per table the counts and digests (sum and xor of 64-bit row hashes, so
    order does not matter), and the positions of the first rows that differ. `files`: paths that only one has, or with
    different SHA-256.
    """
    with connect(archive) as ours, connect(other) as theirs:
        rows = {table: _compare_rows(ours, theirs, table) for table in TABLES}
    mine, its = _files(archive), _files(other)
    files = {
        "equal": sum(its.get(path) == digest for path, digest in mine.items()),
        "only_in_first": sorted(set(mine) - set(its)),
        "only_in_second": sorted(set(its) - set(mine)),
        "different": sorted(path for path, digest in mine.items() if its.get(path, digest) != digest),
    }
    equal_files = not (files["only_in_first"] or files["only_in_second"] or files["different"])
    return {
        "ok": all(comparison["equal"] for comparison in rows.values()) and equal_files,
        "first": open_storage(archive).uri,
        "second": open_storage(other).uri,
        "rows": rows,
        "files": files,
    }


def _files(archive: StorageLike) -> dict[str, str]:
    return {entry.path: entry.sha256 for state in snapshot.read(archive) for entry in state.files}


def _digest(connection: duckdb.DuckDBPyConnection, table: str) -> tuple[int, int, int]:
    [row] = connection.execute(
        f"SELECT count(*), coalesce(sum(hash(t)::HUGEINT), 0), coalesce(bit_xor(hash(t)), 0) FROM {table} t"  # noqa: S608
    ).fetchall()
    return int(row[0]), int(row[1]), int(row[2])


def _compare_rows(ours: duckdb.DuckDBPyConnection, theirs: duckdb.DuckDBPyConnection, table: str) -> dict[str, Any]:
    mine, its = _digest(ours, table), _digest(theirs, table)
    return {
        "equal": mine == its,
        "first_rows": mine[0],
        "second_rows": its[0],
        "first_digest": f"{mine[1]:x}-{mine[2]:016x}",
        "second_digest": f"{its[1]:x}-{its[2]:016x}",
        **({"differing_rows": 0, "differing": []} if mine == its else _differing(ours, theirs, table)),
    }


def _differing(ours: duckdb.DuckDBPyConnection, theirs: duckdb.DuckDBPyConnection, table: str) -> dict[str, Any]:
    """How many positions' rows differ; of the first, which archive has them, and in which columns they differ."""
    query = f"SELECT {POSITION}, hash(t) AS digest FROM {table} t"  # noqa: S608
    with duckdb.connect() as scratch:
        scratch.register("mine", ours.sql(query).to_arrow_table())
        scratch.register("its", theirs.sql(query).to_arrow_table())
        differing = scratch.execute(
            f"""SELECT {POSITION}, m.digest IS NOT NULL, i.digest IS NOT NULL, count(*) OVER ()
                FROM mine m FULL JOIN its i USING ({POSITION})
                WHERE m.digest IS DISTINCT FROM i.digest ORDER BY ALL LIMIT {MAX_NAMED}"""  # noqa: S608
        ).fetchall()
    named = []
    for partition, offset, index, in_first, in_second, _count in differing:
        where = f"WHERE (raw_partition, raw_offset, raw_index) = ({partition}, {offset}, {index}) LIMIT 1"
        columns: list[str] = []
        if in_first and in_second:
            pair: list[Any] = [
                connection.sql(f"FROM {table} {where}").to_arrow_table() for connection in (ours, theirs)
            ]
            names = dict.fromkeys([*pair[0].column_names, *pair[1].column_names])
            columns = [name for name in names if _column(pair[0], name) != _column(pair[1], name)]
        named.append(
            {"position": [partition, offset, index], "first": in_first, "second": in_second, "columns": columns}
        )
    return {"differing_rows": differing[0][-1] if differing else 0, "differing": named}


def _column(table: Any, name: str) -> object:
    return table.column(name).to_pylist() if name in table.column_names else "no such column"
