"""Words, techniques, lines and pages, manifests."""

import math
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.alert.explain import read_baseline
from pipeline.alert.incidents import incidents_of
from pipeline.alert.manifests import Manifests, shipped_folder
from pipeline.alert.techniques import read_meanings, shipped
from pipeline.alert.wording import counted, duration, measured, printable_name, usual
from pipeline.contracts.baseline import Evidence
from pipeline.errors import Misconfigured, RefusedState
from pipeline.tools.alerts.reading import Seen
from schemas.model_manifest import model_id
from tests.alert.suspects import PLAIN, manifest, scored
from tests.alert.test_evidence import shown as shown_row
from tests.alert.test_ocsf import scan
from tests.tools.alerts.printed import printed


@given(st.text(max_size=200), st.integers(2, 80))
def test_harmless_text_is_printable_and_short(text: str, most: int) -> None:
    shown = printable_name(text, most)
    assert len(shown) <= most
    assert shown.isprintable()
    if text.isascii() and text.isprintable() and len(text) <= most:
        assert shown == text


@pytest.mark.parametrize(
    ("value", "unit", "says"),
    [
        (12, "us", "12 µs"),
        (4200, "us", "4.2 ms"),
        (4_200_000, "us", "4.2 s"),
        (200_000_000, "us", "3 min 20 s"),
        (7_260_000_000, "us", "2 h 1 min"),
        (1, "flag", "yes"),
        (0.5, "log ratio", "a factor of 1.65"),
        (0.251, "share", "25.1 %"),
        (12345.6, "bytes", "12,346 bytes"),
        (3, "", "3"),
        (math.nan, "bytes", "no number"),
        (math.inf, "us", "no number"),
    ],
)
def test_values_are_said_with_their_unit(value: float, unit: str, says: str) -> None:
    assert measured(value, unit) == says


def test_ranges_are_said_once() -> None:
    assert usual(0, 9, "packets") == "0 to 9 packets"
    assert usual(3, 3, "packets") == "3 packets"
    assert usual(0, 0, "flag") == "no"
    assert usual(0, 1, "flag") == "yes or no"
    assert usual(1000, 2_000_000, "us") == "1 ms to 2.0 s"
    assert counted(256, True, "things") == "256 or more things"
    assert duration(-5) == "-5 µs"


def test_the_shipped_meanings_name_real_techniques() -> None:
    meanings = shipped()
    for name in ("normal", "mitm", "portscan", "ssh_bruteforce", "misconf", "duplication"):
        assert name in meanings.classes
    techniques = [technique for meaning in meanings.classes.values() for technique in meaning.techniques]
    assert all(technique.uid[0] == "T" and technique.tactic_uid.startswith("TA") for technique in techniques)
    assert all(technique.sub_uid.startswith(technique.uid + ".") for technique in techniques if technique.sub_uid)
    assert meanings.of("never heard of") is meanings.unknown


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("nonsense", "no TOML"),
        ("attack_version = 1", "'class' is missing"),
        ('[class.a]\ntitle="t"\nsays="$nobody"\nseverity="low"', "nobody"),
        ('[class.a]\ntitle="t"\nsays="s"\nseverity="awful"', "awful"),
        ('[class.a]\ntitle="t"\nsays="s"\nseverity="low"\n[[class.a.technique]]\nuid="T0001"', "technique"),
    ],
)
def test_a_wrong_table_is_named(text: str, says: str) -> None:
    head = "" if text == "nonsense" else 'attack_version="19"\n' if "class.a" in text else ""
    with pytest.raises(Misconfigured, match=says):
        read_meanings(head + text)


def test_a_line_and_a_page_say_what_matters() -> None:
    text = printed(scan())
    for part in (
        "23 tcp ports of 22 addresses",
        "T0846.001 Port Scan",
        "one end never spoke; usually both do",
        "Medium",
    ):
        assert part in text


def test_a_line_repeats_no_evidence_that_the_message_says() -> None:
    rows = [shown_row(Evidence.NEW_WRITER | Evidence.STRANGE, at=at) for at in range(2)]
    [event] = incidents_of([scored(rows)])
    text = " ".join(printed(event).split())
    assert text.count("sent write commands (an industrial protocol)") >= 2  # the page, and its table of reasons
    assert "is unlike all that is usual here" in text


def test_a_page_says_why_there_are_no_reasons() -> None:
    elsewhere = read_baseline(manifest() | {"calibration": {"*": {}}})
    baselines = {"manifest is not in the registry": None, "not calibrated for this sensor": elsewhere}
    for why, baseline in baselines.items():
        [event] = incidents_of([scored([{}, {"at": 1}])], baseline_of=dict.fromkeys([PLAIN["model"]], baseline).get)
        assert why in " ".join(printed(event).split())


def test_readers_ignore_what_they_have() -> None:
    seen = Seen()
    assert [
        seen.is_new("a", 1),
        seen.is_new("a", 1),
        seen.is_new("a", 3),
        seen.is_new("a", 2),
        seen.is_new("b", 1),
    ] == [
        True,
        False,
        True,
        False,
        True,
    ]


def test_manifests_are_found_by_id_and_nowhere_else(tmp_path: Path) -> None:
    shipped = shipped_folder()
    assert shipped is not None
    document = orjson.loads((shipped / "manifest.json").read_bytes()) | {"metrics": {}}
    document["id"] = model_id(document)
    folder = tmp_path / "registry" / document["id"]
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_bytes(orjson.dumps(document))
    (tmp_path / "manifest.json").write_bytes(orjson.dumps(document))
    manifests = Manifests(tmp_path / "registry")
    baseline = manifests.baseline_of(document["id"])
    assert baseline is not None
    assert baseline.model == document["id"] and baseline.names == tuple(
        feature["name"] for feature in document["features"]
    )
    for name in ("..", ".", "", "../registry", "unheard-of", "a" * 100, "\x00"):
        assert manifests.baseline_of(name) is None


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b'{"id": "m"}', b"[" * 1000, b" " * 600_000])
def test_a_damaged_manifest_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "manifest.json").write_bytes(content)
    with pytest.raises(RefusedState):
        Manifests(tmp_path).baseline_of("m")
