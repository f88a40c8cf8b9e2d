"""What made an incident's flows suspect, read from an archive and put in words."""

from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

from models.serving.model import Model
from pipeline.archive.partition import PartitionArchive
from pipeline.archive.streams import Limits
from pipeline.archive.upkeep.query import run
from pipeline.errors import Usage
from pipeline.featurize.feature_sets import FEATURE_SETS
from pipeline.tools.alerts.contributions import NO_CHANGE, explain, group_titles, member_features
from pipeline.tools.cli.alert_explain import _page
from pipeline.tools.cli.output import people
from tests.archive.plant import feed, random_log, wire
from tests.models import tiny


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("archive")
    log = random_log(Random(4), 80, (("plant", "left"), ("plant", "right")))
    feed(PartitionArchive(folder, 0, Limits(9), "w"), wire(log, range(0, 80, 5)), Random(1))
    return folder


def alert(members: list[Any], first_us: int = 0, last_us: int = 1 << 60) -> dict[str, Any]:
    about = {"site": "plant", "sensor": "left", "members": members, "first_ts_us": first_us, "last_ts_us": last_us}
    return {"finding_info": {"uid": "ab" * 16}, "unmapped": about}


def test_the_rows_of_an_incident_are_those_it_lists(archive: Path) -> None:
    sql = (
        "SELECT raw_partition, raw_offset, raw_index, features FROM (FROM flows UNION ALL BY NAME FROM late) "
        "WHERE sensor = 'left' ORDER BY ALL"
    )
    rows = run(archive, sql, 1000)["rows"]
    assert len(rows) > 8
    listed = [[*row[:3], None] for row in rows[1::3]]
    got = member_features(archive, None, alert([*listed, "no position", [1, 2]]))
    np.testing.assert_array_equal(got, np.array([row[3] for row in rows[1::3]], np.float32))


def test_flows_that_the_archive_lacks_are_said(archive: Path, tmp_path: Path) -> None:
    with pytest.raises(Usage, match="got none of its 1 flows from the archive"):
        member_features(archive, None, alert([[0, 1 << 40, 0, None]]))
    with pytest.raises(Usage, match="got none of its 1 flows from the archive"):
        member_features(tmp_path, None, alert([[0, 0, 0, None]]))
    with pytest.raises(Usage, match="got no flows, expected an incident"):
        member_features(archive, None, alert([]))


def test_groups_add_up_and_come_with_what_adds_most_first() -> None:
    model, rows = tiny.model(), tiny.rows(seed=8, count=40)
    attack = rows.matrix[rows.label == "mitm"]
    document = explain(alert([]), model, attack)
    adds = [group["log_odds"] for group in document["groups"]]
    assert adds == sorted(adds, reverse=True)
    assert sum(adds) == pytest.approx(document["log_odds"] - document["usual_log_odds"], abs=0.05)
    assert document["flows"] == len(attack)
    with people.capture() as shown:
        for part in _page(document):
            people.print(part)
    assert "the flow itself" in shown.get()


def test_no_device_is_said_to_change_its_address_where_none_did() -> None:
    """All features of the group are 0 where no hardware address is known, and may differ from a usual flow's."""
    document = {**tiny.model().document}
    document["features"] = [{**each, "group": "identity"} for each in document["features"]]
    model = Model(document, tiny.model().weights)
    [group] = explain(alert([]), model, np.zeros((3, 6), np.float32))["groups"]
    assert group["title"] == NO_CHANGE and group["features"] == [] and group["log_odds"] != 0
    [group] = explain(alert([]), model, np.ones((3, 6), np.float32))["groups"]
    assert group["title"] == "which device has which address" and group["features"]


def test_a_sensor_without_a_calibration_is_said_to_have_none() -> None:
    elsewhere = alert([])
    elsewhere["unmapped"]["site"] = "elsewhere"
    document = explain(elsewhere, tiny.model(), tiny.rows(seed=8, count=9).matrix)
    assert not document["calibrated"]
    assert "not calibrated for this sensor" in str(_page(document)[-1])


def test_every_group_of_every_feature_set_has_words() -> None:
    groups = {feature.group for feature_set in FEATURE_SETS.values() for feature in feature_set.features}
    assert set(group_titles()) == groups
