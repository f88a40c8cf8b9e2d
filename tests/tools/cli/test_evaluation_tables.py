import pickle

import numpy as np
import pytest

from loadtest.plants.westermo import traffic
from models.lab.protocols.iiot import Iiot, trials
from pipeline.featurize.feature_set import FEATURE_SET
from pipeline.tools.cli.evaluation_tables import westermo
from tests.models.lab.protocols.small import Remembering, family

FAMILY = family(Remembering())


@pytest.mark.slow
def test_the_plant_is_the_feature_set_with_its_labels() -> None:
    plant = westermo()
    table = plant.table
    assert tuple(column.name for column in table.columns) == FEATURE_SET.names
    assert {column.kind for column in table.columns} == {"number"}
    names, counts = np.unique(table.label, return_counts=True)
    assert dict(zip(names.tolist(), counts.tolist(), strict=True)) == {
        "mitm": 606,
        "normal": 33_254,  # harmless logins among them; faults are left out
        "portscan": 2_138,
        "ssh_bruteforce": 2_703,
    }
    assert len(plant.events) == 21 and {event.kind for event in plant.events} == {"attack"}
    assert np.isfinite(table.values).all()


def test_events_lie_in_one_group_at_both_sensors() -> None:
    plant = westermo()
    for group in np.unique(plant.table.group)[5:30:5]:
        inside = plant.table.group == group
        assert set(plant.sensor[inside]) == set(traffic.SENSORS)
        assert np.ptp(plant.table.time_us[inside]) < 150_000_000


def test_identifiers_are_of_the_same_records() -> None:
    plant = westermo()
    who = plant.identifiers
    named = {column.name: index for index, column in enumerate(who.columns)}
    assert set(named) == {"src_addr", "dst_addr", "src_mac", "dst_mac", "src_port", "dst_port", "time_s"}
    assert not set(named) & {column.name for column in plant.table.columns}
    senders: dict[int, set[str]] = {}
    for row in traffic.rows("left"):
        senders.setdefault(traffic.epoch_us(row["end"]), set()).add(row["sAddress"])
    vocabulary = who.columns[named["src_addr"]].vocabulary
    for at in np.flatnonzero(plant.sensor == "left")[::500]:
        address = vocabulary[int(who.values[at, named["src_addr"]])]
        assert address in senders[int(plant.table.time_us[at])] | {"None"}  # none where only MACs are known


@pytest.mark.slow
def test_splits_of_the_plant() -> None:
    named = {trial.name: trial for trial in trials(traffic.zipped("left").parent, westermo)}
    cross = named["westermo/left-to-bottom"].build(0)
    assert cross.tests == ("westermo/left-to-bottom", "westermo/left-to-left")
    assert cross.sizes()["train"] < named["westermo/time"].build(0).sizes()["train"]
    plant = westermo()
    after = (plant.table.time_us >= traffic.CUT_US) & (plant.sensor == "bottom")
    assert len(cross.unseen("westermo/left-to-bottom")) == int(after.sum())


def test_the_plan_travels_light() -> None:
    plan = Iiot(traffic.zipped("left").parent, (FAMILY,), 1, westermo)
    assert len(pickle.dumps(plan)) < 5_000
    assert [unit.split for unit in plan.units()][:2] == ["westermo/time", "westermo/left-to-bottom"]
