"""What made the model find an incident's flows suspect, by groups of features, from their rows in the archive."""

import tomllib
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import duckdb
import numpy as np
import numpy.typing as npt

from pipeline.archive.streams import FLOWS, LATE
from pipeline.archive.upkeep.query import ATTEMPTS, connect, read_contents
from pipeline.contracts.uids import raw_position_of
from pipeline.errors import Failed, Usage
from pipeline.runtime.storage.location import StorageLike
from pipeline.settings import Settings
from schemas.model_manifest import POOLED

if TYPE_CHECKING:
    from models.serving.model import Model

MAX_FLOWS = 256
"""Flows that are explained: a second's work. An incident lists its first 1,024."""
SHOWN_FEATURES = 2
IDENTITY = "identity"
"""The group of features about hardware addresses; all 0 where none is known, as where nothing changed."""
NO_CHANGE = "no device's address was seen to change, or no hardware addresses are known"
LEAST_SHARE = 0.01
"""Groups below this share of the largest are left out."""


def group_titles() -> dict[str, str]:
    """What each group of features looks at, in words."""
    return dict(tomllib.loads(files("pipeline.tools.alerts").joinpath("feature_groups.toml").read_text("utf-8")))


def explain(alert: Mapping[str, Any], model: "Model", features: npt.NDArray[np.float32]) -> dict[str, Any]:
    """An alert's flows (n, F) → mean log-odds of an attack, and what each group and feature adds to it.

    alert : an event of `alerts`. The document says what the flows are compared with, `usual_log_odds`; groups, and
    features in them, come with those that add most first. `calibrated`: false where the sensor's own baseline, not the
    model, says what is a suspect.
    """
    from models.serving.contributions import contributions

    about = alert["unmapped"]
    origin = f"{about['site']}/{about['sensor']}"
    found = contributions(model, origin, features)
    groups = _groups(model, features, found.by_feature.mean(axis=0))
    largest = max(abs(group["log_odds"]) for group in groups)
    shown = [group for group in groups if abs(group["log_odds"]) >= LEAST_SHARE * largest]
    return {
        "uid": alert["finding_info"]["uid"],
        "model": model.id,
        "calibrated": model.origin_of(origin) != POOLED,
        "flows": len(features),
        "log_odds": float(found.log_odds.mean()),
        "usual_log_odds": float(found.usual.mean()),
        "from_distance": float(found.distance.mean()),
        "groups": sorted(shown, key=lambda group: -group["log_odds"]),
    }


def _groups(
    model: "Model", features: npt.NDArray[np.float32], by_feature: npt.NDArray[np.float64]
) -> list[dict[str, Any]]:
    """What each group of the model's features adds, by what each feature (F,) does, for flows (n, F)."""
    titles, described = group_titles(), model.document["features"]
    numbers: dict[str, list[int]] = {}
    for number, feature in enumerate(described):
        numbers.setdefault(str(feature["group"]), []).append(number)
    groups = []
    for group, members in numbers.items():
        nothing_seen = group == IDENTITY and not features[:, members].any()
        strongest = sorted(members, key=lambda number: (-abs(by_feature[number]), number))[:SHOWN_FEATURES]
        said = [] if nothing_seen else [(number, described[number]) for number in strongest]
        groups.append(
            {
                "group": group,
                "title": NO_CHANGE if nothing_seen else titles.get(group, group),
                "log_odds": float(by_feature[members].sum()),
                "features": [
                    {"feature": each["name"], "label": each["label"], "log_odds": float(by_feature[number])}
                    for number, each in said
                ],
            }
        )
    return groups


def member_features(
    archive: StorageLike, settings: Settings | None, alert: Mapping[str, Any]
) -> npt.NDArray[np.float32]:
    """The features (n, F) of the first 256 flows that an alert lists, as the archive has them.

    Closed files, and with `settings` open rows. Usage where the alert lists none, or the archive has none of them.
    """
    listed = [raw_position_of(member) for member in alert["unmapped"]["members"][:MAX_FLOWS]]
    positions = [position for position in listed if position is not None]
    where = f"alert {str(alert['finding_info']['uid'])[:12]}"
    if not positions:
        raise Usage(f"{where}: got no flows, expected an incident; a notice has none")
    for attempt in range(ATTEMPTS):
        try:
            rows = _read(archive, settings, alert, positions)
            break
        except duckdb.Error as error:
            if attempt == ATTEMPTS - 1:
                raise Failed(f"{where}: {str(error).strip()}; `forebay archive verify` says what is wrong") from error
    if not rows:
        raise Usage(
            f"{where}: got none of its {len(positions)} flows from the archive, expected them there; `forebay archive "
            "account` says what is still on its way, and flows that retention has purged cannot be explained"
        )
    return np.array(rows, dtype=np.float32)


def _read(
    archive: StorageLike, settings: Settings | None, alert: Mapping[str, Any], positions: Sequence[tuple[int, int, int]]
) -> list[Any]:
    about = alert["unmapped"]
    partitions, offsets, indices = (list(values) for values in zip(*positions, strict=True))
    wanted = (
        "SELECT unnest($partitions::INTEGER[]) AS raw_partition, unnest($offsets::BIGINT[]) AS raw_offset, "
        "unnest($indices::INTEGER[]) AS raw_index"
    )
    given = {"partitions": partitions, "offsets": offsets, "indices": indices}
    named = {"site": about["site"], "sensor": about["sensor"], "least": min(offsets), "most": max(offsets)}
    between = {"first": about["first_ts_us"], "last": about["last_ts_us"]}
    with connect(archive, read_contents(archive, settings)) as connection:
        parts = [
            f"SELECT features, raw_partition, raw_offset, raw_index FROM {table} "  # noqa: S608
            "WHERE site = $site AND sensor = $sensor AND end_ts_us BETWEEN $first AND $last "
            "AND raw_offset BETWEEN $least AND $most"
            for table in (FLOWS, LATE)
            if "features" in connection.table(table).columns  # a table without any row has none
        ]
        if not parts:
            return []
        sql = (
            f"SELECT features FROM ({' UNION ALL '.join(parts)}) SEMI JOIN ({wanted}) "  # noqa: S608
            "USING (raw_partition, raw_offset, raw_index) ORDER BY raw_partition, raw_offset, raw_index"
        )
        rows = connection.execute(sql, {**given, **named, **between}).fetchall()
    return [features for (features,) in rows]
