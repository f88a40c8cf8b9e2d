import socket
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.errors import Misconfigured, RefusedState
from pipeline.tools.broker import kraft, local, state
from pipeline.tools.broker.java import distribution, find_java
from pipeline.tools.broker.state import Running


def test_a_taken_port_is_said_before_anything_is_fetched(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(Misconfigured, match=rf"port {port} .* is taken.*--port 0"):
            local.start(tmp_path, port)
    assert state.read(tmp_path) is None


def test_a_stale_state_file_never_stops_a_stranger(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as stranger:
        state.write(tmp_path, Running("127.0.0.1:1", stranger.pid, 1, 2, "run", "cluster", "4.3.1", "jars", 5))
        assert not local.status(tmp_path).running
        assert local.stop(tmp_path) is None
        assert stranger.poll() is None
        stranger.kill()
    assert state.read(tmp_path) is None


def test_stop_and_status_of_a_folder_that_does_not_exist_change_nothing(tmp_path: Path) -> None:
    assert local.stop(tmp_path / "nowhere") is None
    assert local.status(tmp_path / "nowhere") == local.Status(False, False, None, None, 0)
    assert not (tmp_path / "nowhere").exists()


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Misconfigured, match="--data"):
        local.start(tmp_path / "file" / "below")


@pytest.mark.parametrize(
    ("jar", "named"),
    [(None, "expected an unpacked Apache Kafka"), ("kafka_2.13-3.9.1.jar", "got Kafka 3.9.1")],
)
def test_a_kafka_home_that_is_none_or_too_old_is_refused(tmp_path: Path, jar: str | None, named: str) -> None:
    (tmp_path / "libs").mkdir()
    if jar is not None:
        (tmp_path / "libs" / jar).touch()
    with pytest.raises(Misconfigured, match=named):
        distribution(tmp_path, tmp_path / "cache", lambda _done, _total: None)


def test_a_kafka_home_is_used_without_fetching(tmp_path: Path) -> None:
    (tmp_path / "libs").mkdir()
    (tmp_path / "libs" / "kafka_2.13-4.1.0.jar").touch()
    kafka = distribution(tmp_path, tmp_path / "cache", lambda _done, _total: None)
    assert (kafka.kafka_version, kafka.source, kafka.class_path) == ("4.1.0", "KAFKA_HOME", f"{tmp_path}/libs/*")
    assert not (tmp_path / "cache").exists()


def test_the_java_of_the_wheel_is_found() -> None:
    assert find_java().name == "java"


def test_a_damaged_log_folder_is_refused(tmp_path: Path) -> None:
    assert kraft.cluster_id(tmp_path) is None
    (tmp_path / kraft.LOGS).mkdir()
    (tmp_path / kraft.LOGS / "meta.properties").write_text("version=1\n")
    with pytest.raises(RefusedState, match=r"cluster\.id"):
        kraft.cluster_id(tmp_path)


def test_cluster_ids_are_what_kafka_takes() -> None:
    made = {kraft.new_cluster_id() for _ in range(100)}
    assert len(made) == 100
    assert all(len(each) == 22 and not each.startswith("-") for each in made)
