"""A command beside a running system talks to it, unless it is told otherwise."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.tools.cli.settings_here import settings_here
from pipeline.tools.system import record
from pipeline.tools.system.identity import Identity, identity_of
from pipeline.tools.system.record import Phase, SystemRecord
from tests.commands import forebay

SOURCES = '[{"topic": "zeek", "site": "a", "sensor": "b"}]'


@pytest.fixture
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SystemRecord:
    monkeypatch.delenv("FOREBAY_BOOTSTRAP", raising=False)
    monkeypatch.delenv("FOREBAY_TOPIC_PREFIX", raising=False)
    me = identity_of(os.getpid())
    assert me is not None
    running = SystemRecord(
        *(me, str(tmp_path), Phase.RUNNING, 5, "127.0.0.1:4711", "mine.", SOURCES),
        event_time={"lateness_us": 300_000_000, "site_lateness_us": {"dam": 0}, "idle_us": 7, "of_later": 1},
    )
    record.write(tmp_path, running)
    return running


def test_what_is_not_set_is_the_running_systems(system: SystemRecord) -> None:
    settings = settings_here(run_folder=Path(system.folder), bootstrap=None)
    assert (settings.bootstrap, settings.topic_prefix) == ("127.0.0.1:4711", "mine.")
    assert [source.title for source in settings.topic_sources] == ["zeek"]


def test_how_long_flows_wait_is_as_in_the_running_system(system: SystemRecord, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Path(system.folder)
    monkeypatch.setenv("FOREBAY_IDLE_US", "9")
    settings = settings_here(run_folder=folder)
    assert (settings.lateness_of("weir"), settings.lateness_of("dam"), settings.idle_us) == (300_000_000, 0, 9)
    record.write(folder, replace(system, event_time={}))  # an earlier version's
    assert settings_here(run_folder=folder).lateness_of("weir") == 2_000_000


def test_options_and_the_environment_come_first(system: SystemRecord, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOREBAY_TOPIC_PREFIX", "other.")
    settings = settings_here(run_folder=Path(system.folder), bootstrap="127.0.0.1:1")
    assert (settings.bootstrap, settings.topic_prefix) == ("127.0.0.1:1", "other.")


@pytest.mark.parametrize(
    ("bootstrap", "prefix", "is_here", "address"),
    [
        ("127.0.0.1:4711", None, True, "127.0.0.1:4711"),
        ("localhost:4711", "mine.", True, "localhost:4711"),
        ("kafka.plant:4711", None, False, "kafka.plant:4711"),
        ("127.0.0.1:4711,kafka.plant:4711", None, False, "127.0.0.1:4711,kafka.plant:4711"),
        (None, "other.", False, "127.0.0.1:4711"),
    ],
)
def test_of_another_system_nothing_of_this_one_is_taken(
    system: SystemRecord, bootstrap: str | None, prefix: str | None, is_here: bool, address: str
) -> None:
    settings = settings_here(run_folder=Path(system.folder), bootstrap=bootstrap, topic_prefix=prefix)
    assert settings.bootstrap == address
    assert settings.topic_prefix == (prefix or ("mine." if is_here else "forebay."))
    assert bool(settings.sources) is is_here
    assert settings.lateness_us == (300_000_000 if is_here else 2_000_000)


def test_a_system_that_has_ended_says_nothing(system: SystemRecord) -> None:
    folder = Path(system.folder)
    record.write(folder, replace(system, supervisor=Identity(system.supervisor.pid, "another boot/1")))
    assert settings_here(run_folder=folder).bootstrap == "127.0.0.1:9092"
    (folder / record.NAME).write_text('{"format": 99}')
    assert settings_here(run_folder=folder).bootstrap == "127.0.0.1:9092"
    record.remove(folder)
    assert settings_here(run_folder=folder).bootstrap == "127.0.0.1:9092"


def test_a_folder_that_cannot_be_made_is_a_wrong_setting() -> None:
    completed = forebay("up", "--folder", "/proc/nope")
    assert completed.code == 78
    assert completed.stderr.startswith("error: FOREBAY_RUN_FOLDER /proc/nope: got ")
