"""Two replays of one history side by side: flows joined by raw position, incidents by the flows they hold."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import orjson
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from pipeline.alert.grouping import load_grouping
from pipeline.alert.manifests import Manifests
from pipeline.alert.ocsf import encode as encode_alert
from pipeline.alert.partition import PartitionState, advance_partition
from pipeline.archive.query import connect
from pipeline.errors import BadData, Usage
from pipeline.replay import history
from pipeline.replay import request as requests
from pipeline.replay.run import INCIDENTS, REPORT, folder_of
from pipeline.settings import Settings

LIVE = "live"
POSITION = "raw_partition, raw_offset, raw_index"
COLUMNS = (
    *("raw_partition", "raw_offset", "raw_index", "site", "sensor", "source_record", "end_ts_us"),
    *("score", "class", "p_value", "suspect", "model"),
)
LABEL_COLUMNS = ("site", "sensor", "source_record", "label")
NORMAL = "normal"
BINS = 40
MOST_SHOWN = 50
DAY_US = 86_400_000_000


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two: its name, its rows (COLUMNS), its incidents' last events by uid, the times it was asked for."""

    name: str
    rows: pa.Table
    incidents: dict[str, dict[str, Any]]
    from_us: int | None
    to_us: int | None


def compare(settings: Settings, first: str, second: str, labels: Sequence[Path] = ()) -> dict[str, Any]:
    """Everything the table, the page and the gate are made from; Usage where one is no finished replay.

    Keys: first and second (name, rows, suspects, incidents, incidents_a_day, models, histogram, and where labels exist
    precision, recall, false_rate, labelled); flows (both, only_first, only_second, same_score, gained, lost,
    largest_difference); incidents (same, changed, gained, lost, and `listed` with the reasons).
    """
    sides = [_side(settings, name) for name in (first, second)]
    times = {
        name: [getattr(one, name) for one in sides if getattr(one, name) is not None] for name in ("from_us", "to_us")
    }
    bounds = max(times["from_us"], default=None), min(times["to_us"], default=None)
    with duckdb.connect() as db:
        for name, one in zip(("a", "b"), sides, strict=True):
            db.register(f"all_{name}", one.rows)
            db.execute(f"CREATE TABLE {name} AS SELECT * FROM all_{name} WHERE {_within(bounds)}")  # noqa: S608
        _label(db, labels)
        incidents = [_overlapping(one.incidents, bounds) for one in sides]
        told = [_figures(db, name, one, own) for name, one, own in zip(("a", "b"), sides, incidents, strict=True)]
        return {
            "first": told[0],
            "second": told[1],
            "flows": _flows(db),
            "incidents": _incidents(db, *incidents),
        }


def _side(settings: Settings, name: str) -> Side:
    if name == LIVE:
        with connect(settings.archive_uri) as archive:
            query = f"SELECT {', '.join(COLUMNS)} FROM %s"  # noqa: S608
            rows = archive.sql(f"{query % 'flows'} UNION ALL {query % 'late'}").to_arrow_table()
        return Side(name, rows, live_incidents(settings), None, None)
    folder = folder_of(settings, name)
    request = requests.read(folder)
    if request is None or not (folder / REPORT).is_file():
        raise Usage(
            f"{name}: {folder} holds no finished replay; `forebay replay run --run {name}` makes one, or ends it"
        )
    paths = sorted((folder / "rows").glob("*.parquet"))
    parts = [pq.read_table(path, columns=list(COLUMNS)) for path in paths if path.stat().st_size]
    rows = pa.concat_tables(parts) if parts else _no_rows()
    events = [orjson.loads(line) for line in (folder / INCIDENTS).read_bytes().splitlines()]
    incidents = {event["finding_info"]["uid"]: event for event in events}
    return Side(name, rows, incidents, request.from_us, request.to_us)


def _no_rows() -> pa.Table:
    from pipeline.wire.batches import empty

    return pa.Table.from_batches([empty("scored")]).select(list(COLUMNS))


def live_incidents(settings: Settings) -> dict[str, dict[str, Any]]:
    """The incidents that the archive's rows make with the scores they have, by uid."""
    grouping, manifests = load_grouping(), Manifests(settings.registry_uri)
    last: dict[str, dict[str, Any]] = {}
    for partition, end in history.archive_ends(settings.archive_uri):
        state = PartitionState.empty()
        for number, step in enumerate(_scored(history.archived(settings.archive_uri, partition, 0, end))):
            rows, facts = step
            advanced = advance_partition(
                state, rows.filter(rows.column("suspect")), {**facts, "seq": number}, grouping, manifests.baseline_of
            )
            state = advanced.state
            for event in advanced.events:
                last[event["finding_info"]["uid"]] = orjson.loads(encode_alert(event))
    return last


def _scored(steps: Iterator[history.Step]) -> Iterator[tuple[pa.RecordBatch, dict[str, Any]]]:
    return ((step.scored, step.facts) for step in steps if step.scored is not None)


def _within(bounds: tuple[int | None, int | None]) -> str:
    since, until = bounds
    asked = [f"end_ts_us >= {since}"] if since is not None else []
    asked += [f"end_ts_us < {until}"] if until is not None else []
    return " AND ".join(asked) or "true"


def _overlapping(
    incidents: dict[str, dict[str, Any]], bounds: tuple[int | None, int | None]
) -> dict[str, dict[str, Any]]:
    since, until = bounds
    return {
        uid: event
        for uid, event in incidents.items()
        if (since is None or event["unmapped"]["last_ts_us"] >= since)
        and (until is None or event["unmapped"]["first_ts_us"] < until)
    }


def _label(db: duckdb.DuckDBPyConnection, labels: Sequence[Path]) -> None:
    """Table `label`: site, sensor, source_record, label; empty without files."""
    db.execute("CREATE TABLE label (site VARCHAR, sensor VARCHAR, source_record BIGINT, label VARCHAR)")
    for path in labels:
        try:
            types = {name: pa.int64() if name == "source_record" else pa.string() for name in LABEL_COLUMNS}
            options = pa_csv.ConvertOptions(include_columns=list(LABEL_COLUMNS), column_types=types)
            table = pa_csv.read_csv(path, convert_options=options)
        except (OSError, pa.ArrowException, KeyError) as error:
            raise BadData(
                f"--labels {path}: {error}; expected CSV with the columns {', '.join(LABEL_COLUMNS)}"
            ) from error
        db.register("found", table)
        db.execute("INSERT INTO label SELECT site, sensor, source_record, label FROM found")
        db.unregister("found")


def _figures(db: duckdb.DuckDBPyConnection, table: str, side: Side, incidents: dict[str, Any]) -> dict[str, Any]:
    [(rows, suspects, first_us, last_us)] = db.execute(
        f"SELECT count(*), count(*) FILTER (suspect), min(end_ts_us), max(end_ts_us) FROM {table}"  # noqa: S608
    ).fetchall()
    span_days = max((last_us or 0) - (first_us or 0), 1) / DAY_US
    counted = dict(
        db.execute(
            f"SELECT least(floor(score * {BINS})::INT, {BINS - 1}), count(*) FROM {table} GROUP BY ALL"  # noqa: S608
        ).fetchall()
    )
    figures: dict[str, Any] = {
        "name": side.name,
        "rows": rows,
        "suspects": suspects,
        "incidents": len(incidents),
        "incidents_a_day": round(len(incidents) / span_days, 2) if rows else 0.0,
        "from_us": first_us,
        "to_us": last_us,
        "models": [model for (model,) in db.execute(f"SELECT DISTINCT model FROM {table} ORDER BY 1").fetchall()],  # noqa: S608
        "histogram": [int(counted.get(number, 0)) for number in range(BINS)],
    }
    [(labelled, attacks, found, normals, false)] = db.execute(
        f"""SELECT count(*), count(*) FILTER (lower(label) <> '{NORMAL}'),
                   count(*) FILTER (suspect AND lower(label) <> '{NORMAL}'),
                   count(*) FILTER (lower(label) = '{NORMAL}'), count(*) FILTER (suspect AND lower(label) = '{NORMAL}')
            FROM {table} JOIN label USING (site, sensor, source_record)"""  # noqa: S608
    ).fetchall()
    if labelled:
        figures |= {
            "labelled": labelled,
            "attacks": attacks,
            "precision": found / (found + false) if found + false else None,
            "recall": found / attacks if attacks else None,
            "false_rate": false / normals if normals else None,
        }
    return figures


def _flows(db: duckdb.DuckDBPyConnection) -> dict[str, Any]:
    names = ("both", "only_first", "only_second", "same_score", "gained", "lost", "largest_difference")
    [row] = db.execute(
        f"""SELECT count(*) FILTER (a.suspect IS NOT NULL AND b.suspect IS NOT NULL),
                   count(*) FILTER (b.suspect IS NULL), count(*) FILTER (a.suspect IS NULL),
                   count(*) FILTER (a.score = b.score), count(*) FILTER (NOT a.suspect AND b.suspect),
                   count(*) FILTER (a.suspect AND NOT b.suspect), max(abs(a.score - b.score))
            FROM a FULL JOIN b USING ({POSITION})"""  # noqa: S608
    ).fetchall()
    return dict(zip(names, row, strict=True))


def _members(event: dict[str, Any]) -> set[tuple[int, int, int]]:
    return {(int(one[0]), int(one[1]), int(one[2])) for one in event["unmapped"]["members"]}


def _incidents(
    db: duckdb.DuckDBPyConnection, first: dict[str, dict[str, Any]], second: dict[str, dict[str, Any]]
) -> dict[str, Any]:
    """Paired by uid, else by the flow they share; what is left over was gained or lost."""
    holder = {position: uid for uid, event in first.items() if uid not in second for position in _members(event)}
    pairs: dict[str, str] = {uid: uid for uid in second if uid in first}
    for uid, event in second.items():
        shared = sorted({holder[position] for position in _members(event) if position in holder})
        if uid not in pairs and shared:
            pairs[uid] = shared[0]
    taken = set(pairs.values())
    listed, same = [], 0
    for uid, before in sorted(pairs.items()):
        if uid == before and _essence(first[before]) == _essence(second[uid]):
            same += 1
        else:
            listed.append(_told(db, "changed", first[before], second[uid]))
    gained = [_told(db, "gained", None, event) for uid, event in sorted(second.items()) if uid not in pairs]
    lost = [_told(db, "lost", event, None) for uid, event in sorted(first.items()) if uid not in taken]
    return {
        "same": same,
        "changed": len(pairs) - same,
        "gained": len(gained),
        "lost": len(lost),
        "listed": (gained + lost + listed)[:MOST_SHOWN],
    }


def _essence(event: dict[str, Any]) -> tuple[Any, ...]:
    """What of an incident a reader would call the same; how often it was told and by which model does not count."""
    about = event["unmapped"]
    return event["severity_id"], about["class"], about["first_ts_us"], about["last_ts_us"], sorted(_members(event))


def _told(
    db: duckdb.DuckDBPyConnection, what: str, before: dict[str, Any] | None, after: dict[str, Any] | None
) -> dict[str, Any]:
    """An incident that is not the same, and why: how many of its flows are suspects on each side, and their scores."""
    event = after or before or {}
    positions = sorted((_members(before) if before else set()) | (_members(after) if after else set()))
    db.register("held", pa.table(dict(zip(POSITION.split(", "), map(list, zip(*positions, strict=True)), strict=True))))
    [(of_first, of_second, score_first, score_second)] = db.execute(
        f"""SELECT count(*) FILTER (a.suspect), count(*) FILTER (b.suspect), avg(a.score), avg(b.score)
            FROM held LEFT JOIN a USING ({POSITION}) LEFT JOIN b USING ({POSITION})"""  # noqa: S608
    ).fetchall()
    db.unregister("held")
    return {
        "what": what,
        "uid": event["finding_info"]["uid"],
        "sensor": f"{event['unmapped']['site']}/{event['unmapped']['sensor']}",
        "message": event["message"],
        "severity": [one.get("severity") if one else None for one in (before, after)],
        "first_ts_us": event["unmapped"]["first_ts_us"],
        "flows": len(positions),
        "suspects": [of_first, of_second],
        "mean_score": [score_first, score_second],
        "reason": f"{of_first} of its {len(positions)} flows were suspects in the first, {of_second} in the second",
    }
