"""CEF, LEEF and text: what a reader of the format gets back is what was put in."""

import re

from hypothesis import given

from pipeline.tools.outputs.formats.cef import SEVERITY, cef, escaped_header, escaped_value
from pipeline.tools.outputs.formats.leef import leef
from pipeline.tools.outputs.formats.text import line, page, subject
from pipeline.tools.outputs.revision import Revision, revision_of
from tests.tools.outputs.revisions import event, hostile, revision, revisions


def read_cef(text: str) -> tuple[list[str], dict[str, str]]:
    """A line of CEF as its specification has it: header fields, and the extension's keys with their values."""
    fields: list[str] = []
    rest = text.removeprefix("CEF:0|")
    while len(fields) < 6:
        match = re.match(r"((?:[^\\|]|\\[\\|])*)\|", rest)
        assert match is not None, rest
        fields.append(re.sub(r"\\([\\|])", r"\1", match[1]))
        rest = rest[match.end() :]
    starts = [*re.finditer(r"(?:^| )([A-Za-z0-9]+)=", rest)]
    unescaped = {"\\n": "\n", "\\r": "\r", "\\\\": "\\", "\\=": "="}
    values = {}
    for match, following in zip(starts, [*starts[1:], None], strict=True):
        value = rest[match.end() : following.start() if following else len(rest)]
        values[match[1]] = re.sub(r"\\[nr\\=]", lambda found: unescaped[found[0]], value)
    return fields, values


@given(hostile)
def test_cef_values_come_back(text: str) -> None:
    head = escaped_header(text)
    written = f"CEF:0|v|p|1|c|{head}|5|msg={escaped_value(text)} cnt=3"
    fields, values = read_cef(written)
    assert fields[4] == text.replace("\r", " ").replace("\n", " ")
    assert values == {"msg": text, "cnt": "3"}


@given(revisions())
def test_cef_is_one_line_that_reads(made: Revision) -> None:
    written = cef(made)
    assert "\n" not in written and "\r" not in written
    fields, values = read_cef(written)
    assert fields[:2] == ["Forebay", "Forebay"] and 0 <= int(fields[5]) <= 10
    assert values["externalId"] == made.uid and values["cnt"] == str(made.flows)
    said = f"TEST: {made.says}" if made.is_test else made.says
    assert values.get("msg", "") == said
    assert values["cs6"] == made.key and values["cs6Label"] == "repeats are known by"


def test_cef_of_a_real_scan() -> None:
    fields, values = read_cef(cef(revision_of(event())))
    assert fields[3:] == ["portscan", "Port scan", "5"] or fields[3:5] == ["portscan", "Port scan"]
    assert (values["src"], values["proto"], values["cs1Label"], values["cs1"]) == (
        "198.18.134.11", "tcp", "site", "plant",
    )  # fmt: skip
    assert values["cs3"] == "T0846.001 Port Scan"
    assert sorted(SEVERITY.values()) == list(SEVERITY.values()) and set(SEVERITY) == {1, 2, 3, 4, 5}


@given(revisions())
def test_leef_is_one_line_that_reads(made: Revision) -> None:
    written = leef(made)
    assert "\n" not in written and "\r" not in written
    head, vendor, _, _, _, delimiter, attributes = written.split("|", 6)
    assert (head, vendor, delimiter) == ("LEEF:2.0", "Forebay", "x09")
    pairs = dict(pair.split("=", 1) for pair in attributes.split("\t"))
    assert pairs["uid"] == made.uid and pairs["key"] == made.key and 1 <= int(pairs["sev"]) <= 10


@given(revisions())
def test_a_subject_is_short(made: Revision) -> None:
    assert len(subject(made)) <= 160


def test_text_of_a_real_scan() -> None:
    made = revision_of(event())
    assert "tried 23 tcp ports of 5 addresses" in line(made) and "site plant, sensor left" in line(made)
    body = page(made)
    assert "candidate techniques: T0846.001 Port Scan" in body and f"forebay alert show {made.uid[:12]}" in body
    assert "This is a test" not in body and "This is a test" in page(revision(is_test=True))


def test_text_from_the_network_is_printable_before_any_format() -> None:
    made = revision_of(event(sensor="le\x1bft\u202e\n|=]"))
    assert made.sensors == ("le\\x1bft\\x202e\\x0a|=]",)
    assert all(part.isprintable() for part in (made.says, made.title, *made.reasons))
