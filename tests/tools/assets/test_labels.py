"""The plant's own names: every wrong line of a file is named with its remedy, and nothing of such a file is meant."""

import csv
import io

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import BadData
from pipeline.tools.assets import labels as module
from pipeline.tools.assets.devices import assets_of
from pipeline.tools.assets.documents import assets_in
from pipeline.tools.assets.inventory import inventory_of
from pipeline.tools.assets.label import Label, Labels
from pipeline.tools.assets.labels import changes, read_csv, stored
from pipeline.tools.assets.table_file import csv_text
from pipeline.tools.spreadsheets import cell
from tests.featurize.flows import batch
from tests.tools.assets.plants import talk

HEAD = "site,address,name,criticality\n"


def read(text: str, site: str | None = None) -> Labels:
    return read_csv(text.encode(), "names.csv", site)


def test_a_file_of_names() -> None:
    text = HEAD + "plant,10.0.0.20,Pump 3,High\nplant,00:1B:1B:00:00:01,,low\nplant,FE80::1,,\n"
    assert read(text) == {
        ("plant", "10.0.0.20"): Label("Pump 3", "high", None),
        ("plant", "00:1b:1b:00:00:01"): Label("", "low", None),
        ("plant", "fe80::1"): Label("", "", None),
    }


def test_a_file_as_excel_writes_it() -> None:
    text = "\ufeffaddress;name;criticality\r\n10.0.0.20;Förderband, links;critical\r\n"
    assert read(text, "plant") == {("plant", "10.0.0.20"): Label("Förderband, links", "critical", None)}


def test_an_export_that_was_filled_in_is_such_a_file() -> None:
    rows = talk("10.0.0.1", "10.0.0.20", 502, 3, site="=plant")
    names = {("=plant", "10.0.0.20"): Label("+pump", "high", "=cell 1"), ("=plant", "10.0.0.1"): Label("'=HMI", "")}
    text = csv_text(assets_in(assets_of(inventory_of([batch(rows)])).values(), names))
    assert read(text) == names


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", r"names\.csv: got the columns none, expected site, address, name, criticality too; put them into its"),
        (
            "address,name,criticality\n",
            r"got the columns address, name, criticality, expected site too; --site says it",
        ),
        (HEAD + "plant,10.0.0,x,low\n", r"names\.csv line 2: address: got '10\.0\.0', expected one of IPv4 or IPv6"),
        (HEAD + "plant,8.8.8.8,x,low\n", "address: got 8.8.8.8, a public one, and all of those count as one"),
        (HEAD + "plant,10.0.0.1,x,huge\n", "criticality: got 'huge', expected low, medium, high, critical or nothing"),
        (HEAD + ",10.0.0.1,x,low\n", "site: got '', expected 1 to 128 printable characters"),
        (HEAD + "plant,10.0.0.1,a\x1b[31m,low\n", "name: got 'a.*x1b.*expected at most 128 printable characters"),
        (HEAD + f"plant,10.0.0.1,{'x' * 129},low\n", "expected at most 128 printable characters; shorten it"),
        (
            "zone," + HEAD + "\u202ea,plant,10.0.0.1,x,low\n",
            "zone: got .*202e.*expected at most 64 printable characters",
        ),
        ("zone," + HEAD + f"{'x' * 65},plant,10.0.0.1,x,low\n", "expected at most 64 printable characters; shorten it"),
        (HEAD + "plant,10.0.0.1,a,low\nplant,10.0.0.1,b,low\n", "line 3: got 10.0.0.1 of plant again.*line 2 has it"),
        ("x" * 200_000, r"names\.csv line 1: got field larger than field limit"),
        (HEAD + 'plant,10.0.0.1,"' + "x" * 200_000 + '",low\n', "line 2: got field larger than field limit"),
    ],
)
def test_a_wrong_line_says_what_to_do(text: str, error: str) -> None:
    with pytest.raises(BadData, match=error) as raised:
        read(text)
    assert all(line.isprintable() for line in str(raised.value).split("\n"))


def test_all_problems_are_said_and_nothing_is_meant() -> None:
    with pytest.raises(BadData) as raised:
        read(HEAD + "plant,10.0.0.1,good,low\n" + "plant,nowhere,x,low\n" * 30)
    said = str(raised.value).split("\n")
    assert len(said) == module.SHOWN_PROBLEMS + 2 and said[-2:] == ["and 10 more", "nothing was imported"]


def test_a_site_that_is_said_twice_differently() -> None:
    with pytest.raises(BadData, match="site: got 'other', expected 'plant' as --site says; leave one of them out"):
        read(HEAD + "other,10.0.0.1,x,low\n", "plant")


def test_what_is_no_text_or_too_much(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BadData, match="got no UTF-8"):
        read_csv(b"\xff\xfea\x00", "names.csv")
    monkeypatch.setattr(module, "MAX_LABELS", 1)
    with pytest.raises(BadData, match="got 2 devices, expected 1 at most; split the file"):
        read(HEAD + "plant,10.0.0.1,x,low\nplant,10.0.0.2,x,low\n")
    monkeypatch.setattr(module, "MAX_BYTES", 10)
    with pytest.raises(BadData, match="expected 10 at most; split the file"):
        read(HEAD)


def test_only_what_changes_is_sent() -> None:
    known = {
        ("plant", "10.0.0.1"): Label("a", "low"),
        ("plant", "10.0.0.2"): Label("b", ""),
        ("plant", "10.0.0.3"): Label("c", ""),
    }
    wanted = {
        ("plant", "10.0.0.1"): Label("a", "low"),
        ("plant", "10.0.0.2"): Label("b", "high"),
        ("plant", "10.0.0.3"): Label("", ""),
        ("plant", "10.0.0.4"): Label("d", ""),
        ("plant", "10.0.0.5"): Label("", ""),
    }
    made = changes(known, wanted)
    assert (made.new, made.changed, made.removed, made.same) == (1, 1, 1, 2) and len(made.send) == 3
    assert changes({**known, **made.send}, wanted).send == {}


def test_a_file_without_zones_says_nothing_of_them() -> None:
    known = {("plant", "10.0.0.1"): Label("a", "low", "cell 1"), ("plant", "10.0.0.2"): Label("", "", "cell 2")}
    send = changes(known, read(HEAD + "plant,10.0.0.1,b,low\nplant,10.0.0.2,,\n")).send
    assert send == {("plant", "10.0.0.1"): Label("b", "low", "cell 1")}
    made = changes(known, read("zone," + HEAD + ",plant,10.0.0.1,a,low\n,plant,10.0.0.2,,\n"))
    assert made.send[("plant", "10.0.0.1")] == Label("a", "low", "") and (made.changed, made.removed) == (1, 1)


def test_a_zone_alone_is_a_label() -> None:
    wanted = read("address,name,criticality,zone\n10.0.0.1,,,Cell 1\n", "plant")
    assert changes({}, wanted).send == {("plant", "10.0.0.1"): Label("", "", "Cell 1")}


NAMES = st.text(st.characters().filter(str.isprintable), max_size=20).map(str.strip)
LABELS = st.dictionaries(
    st.tuples(st.sampled_from(["plant", "=1"]), st.sampled_from(["10.0.0.1", "fe80::1", "00:1b:1b:00:00:01"])),
    st.builds(Label, NAMES, st.sampled_from(["", "low", "critical"]), NAMES),
)


@given(LABELS)
def test_any_labels_come_back_from_a_file_and_from_the_topic(labels: Labels) -> None:
    sink = io.StringIO(newline="")
    rows = [[cell(text) for text in (*key, *label)] for key, label in labels.items()]
    csv.writer(sink).writerows([["site", "address", "name", "criticality", "zone"], *rows])
    assert read(sink.getvalue()) == labels and changes(labels, read(sink.getvalue())).send == {}
    for (site, address), label in labels.items():
        value = orjson.dumps({"site": site, "address": address, **label._asdict()})
        assert list(stored(f"{site}/{address}".encode(), value)) == [((site, address), label)]


@given(st.binary(max_size=60) | st.none(), st.binary(max_size=120) | st.none())
def test_any_message_is_a_label_or_nothing(key: bytes | None, value: bytes | None) -> None:
    assert len(list(stored(key, value))) <= 1


@pytest.mark.parametrize(
    "document",
    [
        {"site": "plant", "address": "10.0.0.1", "name": "x"},
        {"site": "plant", "address": "10.0.0.2", "name": "x", "criticality": ""},
        {"site": "plant", "address": "10.0.0.1", "name": "\x1b[31m", "criticality": ""},
        {"site": "plant", "address": "10.0.0.1", "name": 7, "criticality": ""},
        {"site": "plant", "address": "10.0.0.1", "name": "x", "criticality": "", "zone": None},
        {"site": "plant", "address": "10.0.0.1", "name": "x", "criticality": "", "zone": "a\u202eb"},
        [],
    ],
)
def test_a_message_of_another_hand_names_nothing(document: object) -> None:
    assert list(stored(b"plant/10.0.0.1", orjson.dumps(document))) == []


def test_a_message_of_an_earlier_version_has_no_zone() -> None:
    value = orjson.dumps({"site": "plant", "address": "10.0.0.1", "name": "x", "criticality": ""})
    assert list(stored(b"plant/10.0.0.1", value)) == [(("plant", "10.0.0.1"), Label("x", "", ""))]


@given(st.text(max_size=400))
def test_any_text_is_read_or_refused(text: str) -> None:
    sink = io.StringIO(newline="")
    csv.writer(sink).writerows([["site", "address", "name", "criticality"], ["plant", "10.0.0.1", text, ""]])
    try:
        [((_, address), (name, _, _))] = read_csv(sink.getvalue().encode("utf-8", "replace"), "names.csv").items()
    except BadData:
        return
    assert address == "10.0.0.1" and name.isprintable()
