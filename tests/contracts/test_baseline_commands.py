"""Commands on a baseline: what is written is read, and what is none is refused by one error."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.contracts.baseline_commands import ACCEPT, ACTIONS, MAX_NUMBER, MAX_TEXT, MAX_US, UNDO, BaselineCommand
from pipeline.errors import BadData

TEXT = st.text(max_size=MAX_TEXT)
COMMANDS = st.builds(
    BaselineCommand,
    site=TEXT,
    sensor=TEXT,
    action=st.sampled_from(ACTIONS),
    address=TEXT,
    service=TEXT,
    number=st.integers(0, MAX_NUMBER),
    first_us=st.integers(0, 2**61),
    last_us=st.integers(2**61, MAX_US),
)
PLAIN = BaselineCommand(site="dam", sensor="gate", action=UNDO, number=4)


@given(COMMANDS)
def test_what_is_written_is_read(command: BaselineCommand) -> None:
    assert BaselineCommand.of(command.document()) == command
    assert BaselineCommand.read(command.payload(), command.site, command.sensor) == command


def test_a_command_of_the_first_version_is_read() -> None:
    first = {name: value for name, value in PLAIN.document().items() if not name.endswith("_us")}
    assert BaselineCommand.of(first) == PLAIN


def test_the_sensor_is_that_of_the_headers() -> None:
    assert BaselineCommand.read(PLAIN.payload(), "dam", "weir").sensor == "weir"
    assert b"gate" not in PLAIN.payload()


@pytest.mark.parametrize(
    "changes",
    [
        {"action": "forget"},
        {"number": -1},
        {"number": MAX_NUMBER + 1},
        {"number": True},
        {"number": "4"},
        {"address": "x" * (MAX_TEXT + 1)},
        {"service": 502},
        {"first_us": 2},
        {"first_us": -1},
        {"last_us": MAX_US + 1},
        {"last_us": 1.5},
        {"more": ""},
    ],
)
def test_what_is_no_command_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(BadData, match=r"command on a baseline: got .*, expected"):
        BaselineCommand.of({**PLAIN.document(), **changes})


@pytest.mark.parametrize("payload", [b"", b"null", b"[1]", b"\xff", b"{", b'{"action": "undo"}'])
def test_bytes_that_are_none_are_refused(payload: bytes) -> None:
    with pytest.raises(BadData, match=r"command on a baseline: got .*, expected"):
        BaselineCommand.read(payload, "dam", "gate")


def test_a_command_says_what_it_is_about() -> None:
    command = BaselineCommand(site="dam", sensor="gate", action=ACCEPT, address="10.0.0.7")
    assert command.payload() == b'{"action":"accept","address":"10.0.0.7","service":"","number":0}'
