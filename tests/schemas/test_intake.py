"""Sources: topics and files as the settings name them, and mistakes in one line."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from pipeline.errors import Misconfigured
from pipeline.settings import Settings, load_settings
from schemas.intake import TopicSource
from tests.commands import forebay

TOPIC = {"topic": "zeek", "site": "plant", "sensor": {"field": "host.name", "else": "edge-1"}}
FILE = {"file": "/opt/zeek/logs/current/conn.log", "site": "plant", "sensor": "edge-1"}
FILES = {"files": ["/logs/*.json", "/logs/eve"], "rotated": ["/old/*"], "format": "suricata-eve+json"}
FILES |= {"site": "plant", "sensor": "edge-2"}


def load(folder: Path, *sources: dict[str, Any]) -> Settings:
    file = folder / "sources.yaml"
    file.write_text(yaml.safe_dump({"sources": list(sources)}))
    return load_settings(sources=str(file))


def test_topics_and_files_stand_beside_each_other(tmp_path: Path) -> None:
    settings = load(tmp_path, TOPIC, FILE, FILES)
    assert [source.title for source in settings.topic_sources] == ["zeek"]
    assert [source.paths for source in settings.file_sources] == [(FILE["file"],), tuple(FILES["files"])]
    assert settings.file_sources[1].rotated == ("/old/*",)


def test_they_survive_the_way_to_a_process_that_is_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load(tmp_path, TOPIC, FILE, FILES)
    monkeypatch.setenv("FOREBAY_SOURCES", settings.variables()["FOREBAY_SOURCES"])
    assert load_settings().sources == settings.sources


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ({**FILE, "file": "conn.log"}, "expected an absolute path"),
        ({**FILES, "rotated": ["old/*"]}, "expected an absolute path"),
        ({**FILE, "sensor": {"field": "host.name"}}, "all records of a file are one sensor's"),
        ({**FILE, "site": {"key": True}}, "all records of a file are one sensor's"),
        ({**FILE, "sensor": "a\nb"}, "without control characters"),
        ({"file": FILE["file"], "site": "plant"}, "Field required"),
        ({**FILE, "topic": "zeek"}, "got topic beside files; write two entries"),
        ({**FILE, "files": ["/a"]}, "expected one of file, files, got both"),
        (
            {**FILE, "format": "csv"},
            "expected auto, or a content-type",
        ),
        ({**FILE, "columns": ["a"]}, "got columns"),
        ({"site": "plant", "sensor": "a"}, "expected one of topic, topics, pattern, file, files, got none"),
        (
            {**TOPIC, "format": "zeek"},
            "expected auto, or a content-type",
        ),
        ({**TOPIC, "format": "zeek-conn+tsv"}, "expected `columns`"),
        ({**TOPIC, "time_zone": "Vienna"}, "expected a time zone such as Europe/Vienna"),
        ({**FILE, "time_zone": "CET+1"}, "expected a time zone such as Europe/Vienna"),
        (FILE | {"files": [], "file": ""}, "at least 1 character"),
    ],
)
def test_a_mistake_is_one_line(tmp_path: Path, source: dict[str, Any], said: str) -> None:
    with pytest.raises(Misconfigured) as refused:
        load(tmp_path, source)
    assert said in str(refused.value) and "\n" not in str(refused.value)
    assert str(refused.value).startswith("FOREBAY_SOURCES") and refused.value.exit_code == 78


def test_a_file_is_of_one_entry(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="a second time, expected each file in one entry"):
        load(tmp_path, FILE, {**FILE, "sensor": "edge-3"})


@pytest.mark.parametrize(
    ("command", "code", "said"),
    [
        (("flow", "follow"), 78, "`forebay intake run` reads topics"),
        (("flow", "follow", "/a"), 2, "--sources: got it beside PATH"),
        (("flow", "follow", "--site", "a"), 2, "--site: got it without PATH"),
    ],
)
def test_who_reads_a_source_is_said(
    tmp_path: Path,
    command: tuple[str, ...],
    code: int,
    said: str,
) -> None:
    load(tmp_path, TOPIC)
    assert run(*command, "--sources", str(tmp_path / "sources.yaml")) == (code, said)


def test_intake_reads_no_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load(tmp_path, FILE)
    words = ("intake", "run", "--sources", str(tmp_path / "sources.yaml"))
    assert run(*words) == (78, "files alone, which `forebay flow follow` reads")
    monkeypatch.delenv("FOREBAY_SOURCES", raising=False)
    assert run("flow", "follow") == (2, "PATH: got none, expected files")


def run(*words: str) -> tuple[int, "Said"]:
    ended = forebay(*words)
    return ended.code, Said(ended.stderr)


class Said(str):
    """Text that equals each part of it, so that a comparison that fails shows it whole."""

    def __eq__(self, part: object) -> bool:
        return isinstance(part, str) and part in str(self)

    __hash__ = str.__hash__


def test_kafkas_own_topics_are_no_source() -> None:
    source = TopicSource.model_validate({"pattern": ".*", "site": "plant", "sensor": "edge"})
    assert source.covers("zeek")
    assert not source.covers("__consumer_offsets")
    with pytest.raises(ValidationError, match="Kafka's own"):
        TopicSource.model_validate({"topic": "__consumer_offsets", "site": "plant", "sensor": "edge"})


def test_a_file_of_sources_that_is_nested_without_end_is_one_line(tmp_path: Path) -> None:
    file = tmp_path / "sources.yaml"
    file.write_text("[" * 100_000)
    with pytest.raises(Misconfigured, match=r"sources\.yaml: got lists too deep"):
        load_settings(sources=str(file))
