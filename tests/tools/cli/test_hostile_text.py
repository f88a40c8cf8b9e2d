"""No command lets text from outside steer a terminal: arguments, names of files and folders, settings, their errors."""

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from pipeline.settings import Settings
from pipeline.tools.cli.main import main
from tests.docs.tables import every_command
from tests.ingest.csv_records import ARGUS
from tests.ingest.records import ZEEK

HOSTILE = "\x1b]0;owned\x07\x1b[31m\x9b2J\u202e\u200b\b[bold red]x"
# They run until they are stopped, or begin something: what they print of hostile text they print as they are refused.
LONG_S = 20
# Where Kafka is: with another address there are none of the other errors.
TEXTS = ("str", "Path", "list[str]", "list[Path]")
AS_IT_IS = ("bootstrap",)
COMMANDS = {" ".join(words): command for words, command in every_command()}


class TooLong(BaseException):
    """The command would run on."""


@contextmanager
def limited() -> Iterator[None]:
    def stop(_signal: int, _frame: FrameType | None) -> None:
        raise TooLong

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(LONG_S)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def arguments_of(command: Any) -> list[str]:
    """Hostile text wherever the command takes text."""
    arguments: list[str] = []
    for parameter in command.params:
        takes_text = parameter.bare_type() in TEXTS
        if parameter.param_type_name == "argument":
            arguments.append(HOSTILE if takes_text else "1")
        elif takes_text and not parameter.is_flag and parameter.name not in AS_IT_IS:
            arguments += [parameter.opts[0], HOSTILE]
    return arguments


def shown(arguments: list[str], capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr("sys.argv", ["forebay", *arguments])
    with limited(), pytest.raises((SystemExit, TooLong)):
        main()
    captured = capfd.readouterr()
    return captured.out + captured.err


@pytest.fixture
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of its own, and no Kafka."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FOREBAY_BOOTSTRAP", "127.0.0.1:1")
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("words", COMMANDS)
def test_no_argument_of_a_command_steers_the_terminal(
    words: str, alone: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = shown([*words.split(), *arguments_of(COMMANDS[words])], capfd, monkeypatch)
    assert text.replace("\n", "").isprintable(), [c for c in text if not c.isprintable() and c != "\n"]


USAGE = (
    [HOSTILE],
    ["flow", HOSTILE],
    ["flow", "check", f"--{HOSTILE}"],
    ["flow", "check", "x", "--date-order", HOSTILE],
)


@pytest.mark.parametrize("arguments", USAGE, ids=["noun", "verb", "option", "value"])
def test_errors_of_usage(
    arguments: list[str], alone: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = shown(arguments, capfd, monkeypatch)
    assert text.replace("\n", "").isprintable(), text


@pytest.mark.parametrize("name", sorted(Settings.model_fields))
def test_no_setting_steers_the_terminal(
    name: str, alone: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"FOREBAY_{name.upper()}", HOSTILE)
    for arguments in (["config", "show"], ["status"]):
        text = shown(arguments, capfd, monkeypatch)
        assert text.replace("\n", "").isprintable(), text


@pytest.mark.parametrize("folder", [False, True])
def test_no_file_name_or_content_steers_the_terminal(
    folder: bool, alone: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    evil = HOSTILE.replace("/", "")
    records = [
        ZEEK,
        {**ZEEK, "service": evil},
        {**ZEEK, "proto": evil},
        {**ZEEK, "uid": evil, "id.orig_h": evil},
        {"ts": 1.0, "_path": evil},
        {"event_type": evil},
        {evil: 1},
        {"message": json.dumps({**ZEEK, "conn_state": evil})},
        {"type": "FLOW", "first": evil, "in_packets": evil, "sampler_address": evil},
    ]
    lines = "\n".join(json.dumps(record, ensure_ascii=False) for record in records) + "\n" + evil + "\n"
    argus = f"{evil},{','.join(ARGUS)}\n{evil},{','.join(ARGUS.values())}\n"
    tables = [argus, f"#path\t{evil}\n#fields\tts\t{evil}\n1\t{evil}\n"]
    if folder:
        (alone / evil).mkdir()
    for number, content in enumerate([lines, lines.split("\n", 1)[1], *tables]):
        path = alone / evil / f"{number}{evil}" if folder else alone / f"{number}{evil}"
        path.write_text(content, "utf-8")
        target = str(path.parent if folder else path)
        for arguments in (
            ["flow", "check", target],
            ["flow", "check", "--fields", target],
            ["flow", "check", "--json", target],
            ["flow", "features", "--out", "x.parquet", target],
            ["source", "check", "--file", target],
            ["source", "check", "--json", "--file", target],
        ):
            text = shown(arguments, capfd, monkeypatch)
            assert text and text.replace("\n", "").isprintable(), (arguments, [c for c in text if not c.isprintable()])
