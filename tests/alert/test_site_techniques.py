"""A plant changes its candidate techniques by a file; what is wrong in it is named, and nothing else changes."""

from pathlib import Path
from typing import Any

import pytest

from pipeline.alert.incidents import incidents_of
from pipeline.alert.site_techniques import MAX_TECHNIQUES, meanings_of_sites, read_changes
from pipeline.alert.techniques import Meanings, shipped
from pipeline.contracts.baseline import Evidence
from pipeline.errors import Misconfigured
from schemas.validation import violation
from tests.alert.suspects import scored
from tests.alert.test_evidence import shown

DOCS = Path(__file__).parents[2] / "docs" / "alerts.md"
SCAN = [{"at": n * 0.1, "dst_addr": f"198.18.134.{n}", "dst_port": n} for n in range(9)]
NEW = {"uid": "T0886", "name": "Remote Services", "tactic_uid": "TA0109", "tactic": "Lateral Movement"}


def example() -> str:
    """The example of the documentation."""
    after = DOCS.read_text(encoding="utf-8").split("### A plant's own techniques")[1].split("## Ten sentences")[0]
    return "\n".join(line[4:] for line in after.splitlines() if line.startswith("    "))


def changed(folder: Path, text: str) -> Meanings:
    path = folder / "plant.toml"
    path.write_text(text, encoding="utf-8")
    return read_changes(path)


def exact(event: dict[str, Any]) -> list[str]:
    return [technique["uid"] for technique in event["unmapped"]["techniques"]]


def test_the_example_of_the_documentation_does_what_it_says(tmp_path: Path) -> None:
    meanings = changed(tmp_path, example())
    [event] = incidents_of([scored(SCAN)], meanings=meanings)
    assert exact(event) == ["T0888"] and violation(event, "alert") is None
    assert event["finding_info"]["title"].startswith("Sweep: ")
    assert "candidate technique T0888 Remote System Information Discovery" in event["message"]
    assert event["attacks"][0]["tactic"] == {"uid": "TA0102", "name": "Discovery"}
    [use] = incidents_of([scored([shown(Evidence.NEW_SERVICE_USE)] * 2)], meanings=meanings)
    assert exact(use) == ["T0886"] and violation(use, "alert") is None


def test_nothing_else_changes(tmp_path: Path) -> None:
    meanings = changed(tmp_path, example())
    assert {name: meaning for name, meaning in meanings.classes.items() if name != "portscan"} == {
        name: meaning for name, meaning in shipped().classes.items() if name != "portscan"
    }
    assert meanings.classes["portscan"].severity_id == shipped().classes["portscan"].severity_id
    assert meanings.of("nmap").title == "Sweep", "by an alias too"
    assert changed(tmp_path, "") == shipped()


def test_a_technique_is_renamed_or_weakened_where_it_stands(tmp_path: Path) -> None:
    text = """
        [[class.portscan.technique]]
        uid = "T0846.001"
        name = "Sweep of ports"
        [[evidence.new_writer.technique]]
        uid = "T0848"
        confidence = "high"
    """
    meanings = changed(tmp_path, text)
    [technique] = meanings.classes["portscan"].techniques
    assert (technique.exact, technique.confidence) == ("T0846.001 Sweep of ports", "high")
    writer = [(each.uid, each.confidence) for each in meanings.evidence["new_writer"]]
    assert writer == [("T0848", "high"), ("T1692", "low")]


def test_a_site_has_its_own_file_alone(tmp_path: Path) -> None:
    general, own = tmp_path / "general.toml", tmp_path / "own.toml"
    general.write_text('[class.mitm]\ntitle = "Somebody between"\n')
    own.write_text('[class.portscan]\ntitle = "Sweep"\n')
    of_site = meanings_of_sites(general, {"dam": own})
    assert [of_site(site).classes["mitm"].title for site in ("plant", "dam")] == [
        "Somebody between",
        "Man in the middle",
    ]
    assert [of_site(site).classes["portscan"].title for site in ("plant", "dam")] == ["Port scan", "Sweep"]
    assert meanings_of_sites(None, {})("plant") is shipped()


def _table(kind: str, **entries: str) -> str:
    lines = "\n".join(f"{name} = {value!r}" for name, value in entries.items())
    return f"[[{kind}.technique]]\n{lines}\n"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("nonsense", "plant.toml: got no TOML"),
        ("class = " + "9" * 5_000, "plant.toml: got no TOML"),
        ("class = " + "[" * 5_000, "plant.toml: got no TOML"),
        ("".join(f"k{n} = 1\n" for n in range(500)), "got k0, k1, k10.{150,190}, expected of class, evidence"),
        ("[class.portscann]", "class.portscann: expected a class of mitm, portscan"),
        ("[evidence.new_writers]", "evidence.new_writers: expected a kind of evidence of .*new_writer"),
        ("[clas.portscan]", "got clas, expected of class, evidence"),
        ("class = 1", "got no tables under 'class'"),
        ("[class]\nportscan = 1", "got no tables under 'class'"),
        ('[class.portscan]\nseverity = "low"', "class.portscan: got severity, expected of title, says, remove"),
        ('[evidence.new_writer]\ntitle = "x"', "got title, expected of remove, technique"),
        ('[class.portscan]\nremove = ["T0888"]', "got 'T0888' to remove, expected one of its own: T0846.001"),
        ('[class.portscan]\nremove = "T0888"', "expected a list"),
        ("[class.portscan]\nremove = [[1]]", "to remove, expected one of its own"),
        ("[class.portscan]\ntechnique = [1]", "expected tables"),
        (
            _table("class.portscan", uid="T9999"),
            "T9999, expected one of the shipped table, T0830.*also its name, tactic",
        ),
        (_table("class.portscan", confidence="low"), "technique without uid"),
        (_table("class.portscan", uid="T0888", confidence="sure"), "confidence 'sure', expected low, medium, high"),
        (_table("class.portscan", **NEW | {"uid": "886"}, confidence="low"), "uid '886', expected one like T0846"),
        (_table("class.portscan", **NEW | {"tactic_uid": "T0109"}, confidence="low"), "expected one like TA0102"),
        (_table("class.portscan", **NEW, confidence="low", sub_uid="T0886.001"), "also its sub_name"),
        (_table("class.portscan", **NEW, confidence="low", sub_uid="T0887.001", sub_name="x"), "a part of T0886"),
        (_table("class.portscan", uid="T0888", colour="red"), "got colour"),
        ('[class.portscan]\ntitle = "\\u202eevil"', "expected a line"),
        ('[class.portscan]\ntitle = ""', "expected a line"),
        (f'[class.portscan]\ntitle = "{"x" * 129}"', "expected a line of 128"),
        ('[class.portscan]\nsays = "$nobody"', "expected words, with \\$class at most"),
        ("".join(_table("class.portscan", **NEW | {"uid": f"T{n:04}"}, confidence="low") for n in range(8)), "got 9"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(Misconfigured, match=says):
        changed(tmp_path, text)


def test_a_file_that_is_none_is_named(tmp_path: Path) -> None:
    for path, content in (
        (tmp_path / "none.toml", None),
        (tmp_path / "a.toml", b"\xff"),
        (tmp_path / "b", b"#" * 2**21),
    ):
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(Misconfigured, match=path.name):
            meanings_of_sites(None, {"plant": path})


def test_an_alert_has_as_many_techniques_as_its_schema_takes(tmp_path: Path) -> None:
    full = "".join(
        _table(f"class.{name}", **NEW | {"uid": f"T{base + n:04}"}, confidence="low")
        for name, base in (("mitm", 0), ("dos", 10), ("misconf", 20))
        for n in range(MAX_TECHNIQUES - 1)
    )
    rows = [{"class": name, "at": at} for name in ("mitm", "dos", "misconf") for at in range(4)]
    [event] = incidents_of([scored(rows)], meanings=changed(tmp_path, full))
    assert len(event["attacks"]) == 16 and violation(event, "alert") is None
