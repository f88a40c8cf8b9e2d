"""`forebay load run` and `capacity` before they reach any Kafka: what they list and what they refuse."""

import json

import pytest

from loadtest.workload.scenario import shipped
from tests.commands import forebay


def test_the_scenarios_are_listed() -> None:
    ended = forebay("load", "scenarios")
    listed = json.loads(ended.stdout.splitlines()[-1])["scenarios"]
    assert ended.code == 0 and [each["name"] for each in listed] == list(shipped())
    lines = ended.stderr.splitlines()
    assert all(line.endswith(each["title"]) for line, each in zip(lines, listed, strict=True))
    assert " 1 sensor   a device nobody knows" in ended.stderr and " 2 sensors  8,000" in ended.stderr


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
def test_what_makes_no_sense_is_refused(words: tuple[str, ...], said: str) -> None:
    ended = forebay("load", *words, "--json")
    assert ended.code == 2 and said in json.loads(ended.stdout.splitlines()[-1])["error"]
