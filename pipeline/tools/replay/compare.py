"""Two replays of one history side by side: flows joined by raw position, incidents by the flows they hold."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
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
from pipeline.alert.site_techniques import meanings_of_sites
from pipeline.archive.upkeep.query import connect
from pipeline.errors import BadData, Usage
from pipeline.settings import Settings
from pipeline.tools.replay import history, verdicts
from pipeline.tools.replay import request as requests
from pipeline.tools.replay.incidents import POSITION, members, pair
from pipeline.tools.replay.request import REPORT, Request
from pipeline.tools.replay.run import INCIDENTS, folder_of

LIVE = "live"
COLUMNS = (
    *("raw_partition", "raw_offset", "raw_index", "site", "sensor", "source_record", "end_ts_us"),
    *("score", "class", "p_value", "suspect", "model"),
)
LABEL_COLUMNS = ("site", "sensor", "source_record", "label")
NORMAL = "normal"
BINS = 40
TIMES = 48
DAY_US = 86_400_000_000
MAX_JUDGED = 50


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two: its name, its rows (COLUMNS), its incidents' last events by uid, the times it was asked for."""

    name: str
    rows: pa.Table
    incidents: dict[str, dict[str, Any]]
    from_us: int | None
    to_us: int | None


def compare(
    settings: Settings, first: str, second: str, labels: Sequence[Path] = (), judgements: Sequence[str] = ()
) -> dict[str, Any]:
    """Everything the table, the page and the gate are made from; Usage where one is no finished replay.

    labels: CSV files. judgements: where verdicts are read from: `topic`, or files of JSON lines.

    Keys: first and second (name, rows, suspects, incidents, incidents_a_day, models, histogram, timeline; where labels
    or verdicts exist precision, recall, false_rate, labelled, labelled_by; where incidents were judged `verdicts`);
    flows (both, only_first, only_second, same_score, gained, lost, largest_difference); incidents (same, changed,
    gained, lost, and `listed` with the reasons); labels; where verdicts were asked for also verdicts and judged.
    """
    said = verdicts.read(settings, judgements)
    manifests = Manifests(settings.registry_uri)
    asked = [_asked(settings, name) for name in (first, second)]
    if asked[0].offsets != asked[1].offsets:
        raise Usage(
            f"{first}, {second}: were asked for other --offsets: what only one side has would count as lost or gained; "
            "compare two runs with the same --offsets, or with --from and --to"
        )
    sides = [
        _side(settings, name, request, other)
        for name, request, other in zip((first, second), asked, reversed(asked), strict=True)
    ]
    times = {
        name: [getattr(side, name) for side in sides if getattr(side, name) is not None]
        for name in ("from_us", "to_us")
    }
    bounds = max(times["from_us"], default=None), min(times["to_us"], default=None)
    with duckdb.connect() as db:
        for name, side in zip(("a", "b"), sides, strict=True):
            db.register(f"all_{name}", side.rows)
            db.execute(f"CREATE TABLE {name} AS SELECT * FROM all_{name} WHERE {_within(bounds)}")  # noqa: S608
        _label(db, labels)
        db.register("judged", said.members())
        conflicting = _truth(db)
        incidents = [_overlapping(side.incidents, bounds) for side in sides]
        figures = [
            _figures(db, name, side, events) for name, side, events in zip(("a", "b"), sides, incidents, strict=True)
        ]
        _timelines(figures, incidents)
        document = {
            "first": figures[0],
            "second": figures[1],
            "flows": _flows(db),
            "incidents": pair(db, incidents[0], incidents[1], manifests.alert_level_of),
            "labels": {"files": [path.name for path in labels], "conflicting": conflicting},
        }
        if not judgements:
            return document
        judged = verdicts.on_incidents(
            db, said, [{uid: members(event) for uid, event in events.items()} for events in incidents]
        )
        if judged:
            for number, side_figures in enumerate(figures):
                side_figures["verdicts"] = verdicts.figures(judged, number)
        by_uid = {uid: row for row in judged for uid in (row["uid"], *row["raised"]) if uid is not None}
        for listed in document["incidents"]["listed"]:
            listed["verdict"] = by_uid[listed["uid"]]["verdict"] if listed["uid"] in by_uid else None
        counted = {"judged": len(judged), "outside": len(said.judged) - len(judged)}
        return {**document, "verdicts": {**said.document(), **counted}, "judged": _most_telling(judged)}


def _most_telling(judged: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What the second lost of the confirmed first, then the false ones it raises, then the rest."""

    def rank(incident: dict[str, Any]) -> tuple[int, str]:
        raised = incident["raised"][1] is not None
        return (2 if incident["confirmed"] == raised else 1 if raised else 0), incident["uid"]

    return sorted(judged, key=rank)[:MAX_JUDGED]


def _asked(settings: Settings, name: str) -> Request:
    """What a side was asked for: of the archive, everything."""
    if name == LIVE:
        return Request(LIVE)
    folder = folder_of(settings, name)
    request = requests.read(folder)
    if request is None or not (folder / REPORT).is_file():
        raise Usage(
            f"{name}: {folder} holds no finished replay; `forebay replay run --run {name}` makes one, or ends it"
        )
    return request


def _side(settings: Settings, name: str, request: Request, other: Request) -> Side:
    if name == LIVE:
        # Of the archive no more than what the other side can have.
        with connect(settings.archive_uri) as archive:
            query = f"SELECT {', '.join(COLUMNS)} FROM %s WHERE {_within((other.from_us, other.to_us))}"  # noqa: S608
            rows = archive.sql(f"{query % 'flows'} UNION ALL {query % 'late'}").to_arrow_table()
        return Side(name, rows, live_incidents(settings, other.read_us), None, None)
    folder = folder_of(settings, name)
    paths = sorted((folder / "rows").glob("*.parquet"))
    parts = [pq.read_table(path, columns=list(COLUMNS)) for path in paths if path.stat().st_size]
    rows = pa.concat_tables(parts) if parts else _no_rows()
    events = [orjson.loads(line) for line in (folder / INCIDENTS).read_bytes().splitlines()]
    incidents = {event["finding_info"]["uid"]: event for event in events}
    return Side(name, rows, incidents, request.from_us, request.to_us)


def _no_rows() -> pa.Table:
    from pipeline.runtime.wire.batches import empty

    return pa.Table.from_batches([empty("scored")]).select(list(COLUMNS))


def live_incidents(
    settings: Settings, bounds_us: tuple[int | None, int | None] = (None, None)
) -> dict[str, dict[str, Any]]:
    """The incidents that the archive's rows make with the scores they have, by uid; of files within the bounds."""
    grouping, manifests = load_grouping(), Manifests(settings.registry_uri)
    meanings_of = meanings_of_sites(settings.techniques, settings.site_techniques)
    last: dict[str, dict[str, Any]] = {}
    for partition, end in history.archive_ends(settings.archive_uri):
        state = PartitionState.empty()
        for number, step in enumerate(history.archived(settings.archive_uri, partition, 0, end, bounds_us)):
            suspects = step.rows.filter(step.rows.column("suspect"))
            facts = replace(step.facts, seq=number)
            advanced = advance_partition(
                state, suspects, facts, grouping, manifests.baseline_of, meanings_of, settings.pages_of
            )
            state = advanced.state
            for event in advanced.events:
                if "notice" in event["unmapped"]:
                    continue
                last[event["finding_info"]["uid"]] = orjson.loads(encode_alert(event))
    return last


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
        db.register("label_file", table)
        db.execute("INSERT INTO label SELECT site, sensor, source_record, label FROM label_file")
        db.unregister("label_file")


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
    [(labelled, by_file, by_verdict, attacks, hits, normals, false)] = db.execute(
        f"""SELECT count(*), count(*) FILTER (by_file), count(*) FILTER (by_verdict), count(*) FILTER (attack),
                   count(*) FILTER (suspect AND attack), count(*) FILTER (NOT attack),
                   count(*) FILTER (suspect AND NOT attack)
            FROM {table} JOIN truth USING ({POSITION})"""  # noqa: S608
    ).fetchall()
    if labelled:
        figures |= {
            "labelled": labelled,
            "labelled_by": {"files": by_file, "verdicts": by_verdict},
            "attacks": attacks,
            "precision": hits / (hits + false) if hits + false else None,
            "recall": hits / attacks if attacks else None,
            "false_rate": false / normals if normals else None,
        }
    return figures


def _truth(db: duckdb.DuckDBPyConnection) -> int:
    """Table `truth`: raw position, attack, and who says so; how many flows are left out, being called both."""
    claims = " UNION ".join(
        f"""SELECT {POSITION}, lower(label) <> '{NORMAL}' AS attack, true AS by_file
            FROM {side} JOIN label USING (site, sensor, source_record)
            UNION SELECT {POSITION}, attack, false FROM {side} JOIN judged USING (site, sensor, {POSITION})"""  # noqa: S608
        for side in ("a", "b")
    )
    db.execute(
        f"""CREATE TABLE claimed AS SELECT {POSITION}, bool_or(attack) AS attack, bool_or(by_file) AS by_file,
                   bool_or(NOT by_file) AS by_verdict, bool_or(attack) AND NOT bool_and(attack) AS conflicting
            FROM ({claims}) GROUP BY {POSITION}"""  # noqa: S608
    )
    db.execute("CREATE TABLE truth AS SELECT * FROM claimed WHERE NOT conflicting")
    [(conflicting,)] = db.execute("SELECT count(*) FROM claimed WHERE conflicting").fetchall()
    return int(conflicting)


def _timelines(figures: list[dict[str, Any]], incidents: list[dict[str, dict[str, Any]]]) -> None:
    """How many incidents start in each of equally long stretches of the time both have."""
    since_us = min((side["from_us"] for side in figures if side["from_us"] is not None), default=0)
    until_us = max((side["to_us"] for side in figures if side["to_us"] is not None), default=0)
    width_us = max(1, -(-(until_us + 1 - since_us) // TIMES))
    for side, events in zip(figures, incidents, strict=True):
        counts = [0] * TIMES
        for event in events.values():
            at = (event["unmapped"]["first_ts_us"] - since_us) // width_us
            counts[min(max(int(at), 0), TIMES - 1)] += 1
        side["timeline"] = {"from_us": since_us, "step_us": width_us, "incidents": counts}


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
