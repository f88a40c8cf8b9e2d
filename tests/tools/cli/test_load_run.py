"""`forebay load run` and `capacity` before they reach any Kafka: what they list and what they refuse."""

import json
import sys

import pytest

from loadtest.workload.scenario import shipped
from pipeline.tools.cli.main import main


def left(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["forebay", "load", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


def test_the_scenarios_are_listed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert left(monkeypatch, "scenarios") == 0
    shown = capsys.readouterr()
    listed = json.loads(shown.out.splitlines()[-1])["scenarios"]
    assert [each["name"] for each in listed] == list(shipped())
    lines = shown.err.splitlines()
    assert all(line.endswith(each["title"]) for line, each in zip(lines, listed, strict=True))
    assert " 1 sensor   a device nobody knows" in shown.err and " 2 sensors  8,000" in shown.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("run", "no-such"), "expected one of beacons, burst"),
        (("run", "scan", "--slo", "p99"), "expected as in p99=50ms"),
        (("run", "scan", "--warm-up", "60"), "expected less than --duration 60"),
        (("run", "scan", "--local", "--prefix", "x."), "expected one system"),
        (("run", "scan", "--bootstrap", "kafka.example:9092"), "add --not-local if that is meant"),
        (("capacity", "--lowest", "10", "--highest", "5"), "--start between the other two"),
        (("capacity", "--start", "50"), "--start between the other two"),
        (("capacity", "--warm-up", "30"), "less warm-up than duration"),
    ],
)
def test_what_makes_no_sense_is_refused(
    words: tuple[str, ...], said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert left(monkeypatch, *words, "--json") == 2
    shown = capsys.readouterr()
    assert said in json.loads(shown.out.splitlines()[-1])["error"]
