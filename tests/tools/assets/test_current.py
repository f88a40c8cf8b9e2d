"""The assets as they are known now: without Kafka they have no names, and a server reads them once a while."""

from pathlib import Path
from random import Random

import pytest

from pipeline.archive.partition import PartitionArchive
from pipeline.archive.streams import Limits
from pipeline.settings import load_settings
from pipeline.tools.assets import current as module
from pipeline.tools.assets.current import AssetsCache, CurrentAssets, current_of, devices_of, read_current
from pipeline.tools.assets.inventory import inventory_of
from pipeline.tools.assets.label import Label
from pipeline.tools.assets.reading import Reading
from tests.archive.plant import feed, random_log, wire
from tests.featurize.flows import batch
from tests.tools.assets.plants import asked

NOWHERE = "127.0.0.1:9"


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "cache_folder", lambda: tmp_path / "cache")
    monkeypatch.setattr(module, "PATIENCE_S", 0.1)  # nobody is there to wait for


def of_a_plant() -> CurrentAssets:
    rows = [asked("10.0.0.1", "10.0.0.20", "modbus", {3: 5}, at=each) for each in range(20)]
    reading = Reading(inventory_of([batch(rows)]), 20, 1, None, ["something"])
    return current_of(reading, {("plant", "10.0.0.1"): Label("HMI", "", "")}, ["something else"])


def test_devices_and_maps_of_what_was_read() -> None:
    current = of_a_plant()
    devices, document = current.devices(), current.map("plant")
    assert devices["plant", "10.0.0.1"].name == "HMI" and devices["plant", "10.0.0.20"].role == "controller"
    assert document is not None and [each["name"] for each in document["devices"]] == ["HMI", None]
    assert current.map("other") is None and current.not_read == ["something", "something else"]


def test_without_kafka_there_are_roles_and_no_names(tmp_path: Path) -> None:
    topics = wire(random_log(Random(4), 30, (("plant", "left"), ("other", "right"))), [])
    feed(PartitionArchive(tmp_path / "archive", 0, Limits(9), "w"), topics, Random(1))
    settings = load_settings(archive_uri=str(tmp_path / "archive"), bootstrap=NOWHERE)
    devices, problems = devices_of(settings)
    assert [problem.startswith("names of the plant's: ") for problem in problems] == [True]
    assert all(device.name is None and device.role is not None for device in devices.values())
    assert devices_of(settings, read_archive=False)[0] == devices, "as it was last read"
    other = load_settings(archive_uri=str(tmp_path / "other"), bootstrap=NOWHERE)
    assert devices_of(other, read_archive=False)[0] == {}
    closed = read_current(settings, closed=True)
    assert closed.rows > 0 and closed.labels == {} and closed.not_read == []
    assert closed.devices() == devices


def test_where_there_is_no_archive_there_are_names(tmp_path: Path) -> None:
    settings = load_settings(archive_uri=str(tmp_path / "none"), bootstrap=NOWHERE)
    assert devices_of(settings)[0] == {}


def test_a_server_reads_again_once_it_is_old() -> None:
    now, read = [0.0], []

    def reading() -> CurrentAssets:
        read.append(now[0])
        return of_a_plant()

    cache = AssetsCache(reading, 60.0, lambda: now[0])
    first = cache.current()
    now[0] = 59.0
    assert cache.current() is first
    now[0] = 60.0
    assert cache.current() is not first and read == [0.0, 60.0]
