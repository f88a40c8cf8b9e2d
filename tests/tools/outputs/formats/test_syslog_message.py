"""Syslog messages read back by RFC 5424's grammar."""

import re

import pytest
from hypothesis import given

from pipeline.tools.outputs.formats.syslog_message import BOM, escaped_parameter, frame, header_field, message
from pipeline.tools.outputs.revision import Revision
from tests.tools.outputs.revisions import hostile, revision, revisions

# RFC 5424, section 6: PRI VERSION TIMESTAMP HOSTNAME APP-NAME PROCID MSGID STRUCTURED-DATA MSG
GRAMMAR = re.compile(
    rb"<(\d{1,3})>1 (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{1,6}Z) ([!-~]{1,255}) ([!-~]{1,48}) "
    rb"([!-~]{1,128}) ([!-~]{1,32}) "
    rb'(\[[!-~]{1,32}(?: [!-~]{1,32}="(?:[^"\\\]]|\\["\\\]])*")*\]) (.*)',
    re.DOTALL,
)


def read(data: bytes) -> tuple[list[str], dict[str, str], bytes]:
    """Header fields, parameters and text of a message."""
    match = GRAMMAR.fullmatch(data)
    assert match is not None, data
    *header, structured, text = match.groups()
    parameters = re.findall(r' ([!-~]+?)="((?:[^"\\\]]|\\["\\\]])*)"', structured.decode())
    return (
        [field.decode() for field in header],
        {name: re.sub(r'\\(["\\\]])', r"\1", value) for name, value in parameters},
        text,
    )


@given(revisions())
def test_a_message_reads_by_the_grammar(made: Revision) -> None:
    header, parameters, text = read(message(made, "cef", "local3", "sensor host\n"))
    assert int(header[0]) // 8 == 19 and int(header[0]) % 8 in range(2, 7)
    assert header[2] == "sensorhost" and header[3] == "forebay"
    assert parameters["key"] == made.key and parameters["site"] == made.site
    assert text.startswith(b"CEF:0|")


@given(hostile)
def test_parameters_come_back(text: str) -> None:
    written = f'[a b="{escaped_parameter(text)}"]'
    assert re.fullmatch(r'\[a b="(?:[^"\\\]]|\\["\\\]])*"\]', written, re.DOTALL)
    assert re.sub(r'\\(["\\\]])', r"\1", written[6:-2]) == text


@pytest.mark.parametrize(
    ("name", "says", "has_bom"),
    [("text", "plain", False), ("text", "über", True), ("cef", "über", False), ("ecs", "über", False)],
)
def test_only_text_that_is_not_ascii_has_a_mark(name: str, says: str, has_bom: bool) -> None:
    *_, text = read(message(revision(says=says), name, "local0", "host"))
    assert text.startswith(BOM) == has_bom
    assert name != "ecs" or text.isascii()


def test_a_host_without_letters_is_nil() -> None:
    assert header_field("ä \n", 255) == "-" and header_field("a" * 300, 255) == "a" * 255


@given(hostile)
def test_frames_count_bytes(text: str) -> None:
    data = text.encode()
    length, _, rest = frame(data).partition(b" ")
    assert int(length) == len(data) and rest == data
