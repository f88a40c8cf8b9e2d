import pickle
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from models.errors import RefusedModel
from models.lab.protocols import iiot
from models.lab.protocols.identifiers import IdentifiersOnly
from models.lab.protocols.iiot import Iiot, Plant, missing, trials
from models.lab.tables import iot23, rt_iot2022
from models.lab.tables.table import Column, Table
from models.training.evaluate import Stretch
from tests.models.lab.protocols.small import Remembering, family
from tests.models.lab.tables import real
from tests.models.lab.tables.test_rt_iot2022 import small as rt_small
from tests.real_records import FOLDER, needs

MINUTE = 60_000_000

FAMILY = family(Remembering())


@cache
def plant() -> Plant:
    """Two sensors for forty minutes, a scan every fifth minute; the cut at thirty, less one."""
    n = 2_400
    at = np.arange(n, dtype=np.int64) * (40 * MINUTE // n)
    scan = at // MINUTE % 5 == 4
    random = np.random.default_rng(0)
    label = np.where(scan, "scan", "normal")
    sensor = np.where(np.arange(n) % 2 == 0, "left", "bottom")
    table = Table(
        "p", (Column("size", "number"),), random.normal(scan * 3.0)[:, None], label, label, at // (2 * MINUTE), at
    )
    who = Table("p", (Column("port", "number"),), random.random((n, 1)), label, label, at // (2 * MINUTE), at)
    events = tuple(
        Stretch("SCAN", "scan", "attack", minute * MINUTE, (minute + 1) * MINUTE) for minute in range(34, 40, 5)
    )
    return Plant(table, who, sensor, 29 * MINUTE, 30 * MINUTE, events)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sets")
    for name in iiot.FOLDERS.values():
        (folder / name).mkdir()
    for number, name in enumerate(("one", "two")):
        flows = [
            (1000.0 + 20 * at, f"{at % 97 / 10 + 0.1:.1f}", str(at), "Malicious" if at % 9 == 4 else "Benign", "C&C")
            for at in range(number * 1_000, number * 1_000 + 900)
        ]
        real.conn_log(folder / "iot-23" / f"{name}{iot23.SUFFIX}", flows)
    real.lemay(folder / "lemay-modbus", "send_x", 8080)
    real.lemay(folder / "lemay-modbus", "moving_x", 139)
    rt_small(folder / "rt-iot2022")
    return folder


def test_every_set_and_split_is_named(data: Path) -> None:
    names = [named.name for named in trials(data, plant)]
    assert names == [
        "westermo/time",
        "westermo/left-to-bottom",
        "westermo/bottom-to-left",
        "westermo/random",
        "iot-23/blocked",
        "iot-23/without-one",
        "iot-23/without-two",
        "iot-23/random",
        "lemay/without-moving_x",
        "lemay/without-send_x",
        "lemay/random",
        "rt-iot2022/random",
    ]
    assert missing(data) == ()


def test_sets_that_are_not_there_are_left_out(tmp_path: Path) -> None:
    assert [named.name.split("/")[0] for named in trials(tmp_path, plant)] == ["westermo"] * 4
    assert missing(tmp_path) == ("iot-23", "rt-iot2022", "lemay")
    with pytest.raises(RefusedModel, match="got none of iot-23"):
        Iiot(tmp_path, (FAMILY,)).units()


def test_a_plan_goes_to_another_process_and_gives_documents(data: Path) -> None:
    plan = pickle.loads(pickle.dumps(Iiot(data, (FAMILY,), seeds=2, plant=plant)))  # noqa: S301
    units = plan.units()
    assert len(units) == 24 and len({unit.key for unit in units}) == 24
    time = next(unit for unit in units if unit.split == "westermo/time")
    document = plan.document(time)
    assert set(document["tests"]) == {"westermo/time/left", "westermo/time/bottom", "westermo/time/all"}
    more = document["tests"]["westermo/time/all"]["more"]
    assert [event["found"] for event in more["events"]] == [True, True]
    assert more["days"] == pytest.approx(10 / 1440, rel=0.01)
    assert document["rows"]["train"] == 29 * 60


def test_time_is_cut_with_an_embargo_and_sensors_are_apart(data: Path) -> None:
    by_name = {trial.name: trial for trial in trials(data, plant)}
    site, when = plant(), plant().table.time_us
    trial = by_name["westermo/time"].build(0)
    for sensor in ("left", "bottom"):
        after = site.table.values[(when >= 30 * MINUTE) & (site.sensor == sensor)]
        assert np.array_equal(trial.unseen(f"westermo/time/{sensor}").values, after)
    assert by_name["westermo/random"].build(0).sizes() == {"train": 29 * 60, "tests": {"westermo/random": 600}}
    before = site.table.values[when < 29 * MINUTE]
    _, training_set = trial.training_set()
    assert np.array_equal(np.argsort(training_set.matrix[:, 0]), np.argsort(before[:, 0].astype(np.float32)))


def test_blocks_of_iot23_lie_on_one_side(data: Path) -> None:
    folder = data / "iot-23"
    table = iot23.load(folder)
    by_name = {trial.name: trial for trial in trials(data, None)}
    blocked = by_name["iot-23/blocked"].build(0)
    assert set(blocked.tests) == {"iot-23/blocked", "iot-23/blocked, repeats kept"}
    held_out = set(blocked.unseen("iot-23/blocked, repeats kept").values[:, 1].tolist())  # orig_bytes differ
    train = {float(value) for value, group in zip(table.values[:, 1], table.group, strict=True) if group % 10 % 3 != 2}
    assert held_out and not held_out & train
    without = by_name["iot-23/without-two"].build(0)
    assert without.unseen("iot-23/without-two").values[:, 1].min() >= 1_000


def test_a_capture_of_lemay_that_is_held_out_is_new(data: Path) -> None:
    by_name = {trial.name: trial for trial in trials(data, None)}
    trial = by_name["lemay/without-send_x"].build(0)
    document = Iiot(data, (FAMILY,)).document(
        next(unit for unit in Iiot(data, (FAMILY,)).units() if unit.split == "lemay/without-send_x")
    )
    figures = document["tests"]["lemay/without-send_x"]
    assert figures["novel"]["novel_rows"] > 0 and figures["novel"]["seen_rows"] == 0
    assert trial.sizes()["train"] == document["rows"]["train"]


def test_random_splits_follow_the_seed(data: Path) -> None:
    by_name = {trial.name: trial for trial in trials(data, None)}
    first, second, again = (by_name["lemay/random"].build(seed).unseen("lemay/random").values for seed in (0, 1, 0))
    assert np.array_equal(first, again) and first.shape[0] and not np.array_equal(first, second)


def test_identifiers_split_like_the_records_themselves(data: Path) -> None:
    plan = IdentifiersOnly(None, data, (FAMILY,), 1, plant)
    assert [named.name for named in plan.trials()] == [named.name for named in trials(data, plant)]
    for mine, theirs in zip(plan.trials(), trials(data, plant), strict=True):
        assert mine.build(0).sizes() == theirs.build(0).sizes()
    document = plan.document(next(unit for unit in plan.units() if unit.split == "identifiers-only/westermo/time"))
    assert 0.4 < document["tests"]["westermo/time/all"]["ranking"]["auroc"] < 0.6  # these say nothing


@needs("iot-23", "the protocol splits real captures without repeats")
@needs("rt-iot2022", "the protocol splits real captures without repeats")
def test_real_sets_split_without_repeats() -> None:
    by_name = {trial.name: trial.build(0).sizes() for trial in trials(FOLDER, None)}
    assert by_name["iot-23/blocked"]["train"] == 3_264
    rt = by_name["rt-iot2022/random"]
    assert rt["train"] + rt["tests"]["rt-iot2022/random"] < 18_300
    assert len(rt_iot2022.load(FOLDER / "rt-iot2022")) == 123_117
