from pathlib import Path

import pytest

from pipeline.errors import Failed, KafkaUnreachable
from pipeline.tools.broker.jars import TRIES, TamperedJar, jars
from pipeline.tools.broker.lock import Lock
from tests.tools.broker.conftest import CONTENT, Repository

# jgo leaves the connection of an answer that is not 200 to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")


def fetch(lock: Lock, cache: Path, repository: Repository) -> list[Path]:
    return jars(lock, cache, repositories=repository.repositories, pause_s=0.01)


def left_in(cache: Path) -> list[str]:
    return sorted(path.name for path in cache.rglob("*") if path.is_file() and path.name != ".lock")


@pytest.mark.slow
def test_jars_are_fetched_once_in_class_path_order(lock: Lock, tmp_path: Path, repository: Repository) -> None:
    first = fetch(lock, tmp_path, repository)
    assert [path.name for path in first] == ["one-1.jar", "two-1.jar", "three-1.jar"]
    assert [path.read_bytes() for path in first] == list(CONTENT.values())
    assert fetch(lock, tmp_path, repository) == first
    assert repository.asked == {"one": 1, "two": 1, "three": 1}
    assert left_in(tmp_path) == ["one-1.jar", "three-1.jar", "two-1.jar"]


@pytest.mark.slow
def test_a_jar_with_other_bytes_is_refused_and_not_kept(lock: Lock, tmp_path: Path, repository: Repository) -> None:
    repository.answer = lambda artifact, _nth, content: (
        (200, content.replace(b"two", b"TWO")) if artifact == "two" else (200, content)
    )
    with pytest.raises(TamperedJar, match=r"two-1\.jar: got SHA-256 .* expected .* it was not used: "):
        fetch(lock, tmp_path, repository)
    assert "two-1.jar" not in left_in(tmp_path)
    assert repository.asked["two"] == 1


@pytest.mark.slow
def test_a_cached_jar_that_was_changed_is_refused(lock: Lock, tmp_path: Path, repository: Repository) -> None:
    changed = fetch(lock, tmp_path, repository)[2]
    changed.write_bytes(changed.read_bytes()[:-1] + b"!")
    with pytest.raises(TamperedJar, match=f"delete {changed}"):
        fetch(lock, tmp_path, repository)
    changed.unlink()
    assert fetch(lock, tmp_path, repository)[2].read_bytes() == CONTENT["three"]


@pytest.mark.slow
def test_hiccups_and_cut_transfers_are_tried_again(lock: Lock, tmp_path: Path, repository: Repository) -> None:
    def answer(artifact: str, nth: int, content: bytes) -> tuple[int, bytes]:
        if artifact == "one" and nth < TRIES:
            return 503, b"later"
        return 200, content[:100] if artifact == "two" and nth == 1 else content

    repository.answer = answer
    assert [path.read_bytes() for path in fetch(lock, tmp_path, repository)] == list(CONTENT.values())
    assert repository.asked == {"one": TRIES, "two": 2, "three": 1}


@pytest.mark.slow
def test_without_a_repository_the_error_says_what_to_do(lock: Lock, tmp_path: Path, repository: Repository) -> None:
    repository.answer = lambda _artifact, _nth, _content: (404, b"")
    with pytest.raises(KafkaUnreachable, match=r"KAFKA_HOME.*--bootstrap") as raised:
        fetch(lock, tmp_path, repository)
    assert raised.value.exit_code == 69
    assert repository.address not in str(raised.value)
    assert left_in(tmp_path) == []


def test_a_refused_connection_is_the_same_error(lock: Lock, tmp_path: Path) -> None:
    with pytest.raises(KafkaUnreachable, match="ConnectionError"):
        jars(lock, tmp_path, repositories={"nobody": "http://127.0.0.1:1"}, pause_s=0.01)


@pytest.mark.slow
def test_progress_counts_to_the_number_of_jars(lock: Lock, tmp_path: Path, repository: Repository) -> None:
    seen: list[tuple[int, int]] = []
    for _ in range(2):
        jars(lock, tmp_path, lambda done, total: seen.append((done, total)), repository.repositories)
    assert seen[0] == (0, 3)
    assert seen[-1] == (3, 3)
    assert seen == sorted(seen)


@pytest.mark.slow
def test_a_cache_that_cannot_be_written_is_said(lock: Lock, tmp_path: Path, repository: Repository) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(Failed, match="FOREBAY_CACHE"):
        fetch(lock, tmp_path / "file", repository)
