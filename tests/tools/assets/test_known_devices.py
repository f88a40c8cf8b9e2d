"""What alerts say of devices: the plant's names, and roles as the guesses that they are."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.tools.assets.devices import assets_of
from pipeline.tools.assets.documents import Asset, assets_in
from pipeline.tools.assets.inventory import inventory_of
from pipeline.tools.assets.known_devices import KnownDevice, known_devices, with_names
from pipeline.tools.assets.label import Label, Labels
from tests.featurize.flows import batch
from tests.tools.assets.plants import asked, talk

PLC, HMI = "10.0.0.20", "10.0.0.1"
LABELS: Labels = {
    ("plant", HMI): Label("HMI north", "", "Cell 1"),
    ("plant", "00:1b:1b:00:00:01"): Label("", "critical"),
    ("plant", "10.9.9.9"): Label("Spare", "low"),
}


def assets() -> list[Asset]:
    rows = [asked(HMI, PLC, "modbus", {3: 5}, at=each, dst_mac="00:1b:1b:00:00:01") for each in range(20)]
    rows += talk("10.0.0.3", HMI, 40_000, 3)
    return assets_in(assets_of(inventory_of([batch(rows)])).values(), LABELS)


def test_a_device_has_the_plants_name_and_its_guessed_role() -> None:
    devices = known_devices(LABELS, assets())
    plc = devices["plant", PLC]
    assert (plc.name, plc.role, plc.confidence, plc.criticality) == (None, "controller", "high", "critical")
    assert plc is devices["plant", "00:1b:1b:00:00:01"] and devices["plant", HMI].name == "HMI north"
    assert ("plant", "10.0.0.3") not in devices, "there is nothing to say of it"
    assert devices["plant", "10.9.9.9"].name == "Spare" and devices["plant", "10.9.9.9"].role is None


def test_without_flows_there_are_names_and_no_roles() -> None:
    devices = known_devices(LABELS)
    assert set(devices) == set(LABELS)
    assert devices["plant", HMI].document(HMI) == {
        "address": HMI,
        "device": HMI,
        "name": "HMI north",
        "role": None,
        "confidence": None,
        "criticality": None,
        "zone": "Cell 1",
    }


def named(*pairs: tuple[str, str]) -> list[dict[str, str | None]]:
    return [KnownDevice(address, name).document(address) for address, name in pairs]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10.0.0.1: port scan of 10.0.0.20, 2 flows", "HMI (10.0.0.1): port scan of PLC 3 (10.0.0.20), 2 flows"),
        ("10.0.0.10, 110.0.0.1 and 10.0.0.1.5", "10.0.0.10, 110.0.0.1 and 10.0.0.1.5"),
        ("from 10.0.0.1.", "from HMI (10.0.0.1)."),
        ("10.0.0.1:502 and fe80::1", "10.0.0.1:502 and pump (fe80::1)"),
        ("HMI (10.0.0.1) wrote", "HMI (10.0.0.1) wrote"),
        ("nobody", "nobody"),
    ],
)
def test_addresses_in_a_sentence_have_their_names(text: str, expected: str) -> None:
    assets = named(("10.0.0.1", "HMI"), ("10.0.0.20", "PLC 3"), ("fe80::1", "pump"))
    assert with_names(text, assets) == expected
    assert with_names(expected, assets) == expected and with_names(text, []) == text


ENDS = st.sampled_from(["10.0.0.1", "10.0.0.20", "10.0.0.2", "fe80::1"])


@given(
    st.lists(st.tuples(ENDS, st.text(max_size=8) | ENDS), max_size=4, unique_by=lambda pair: pair[0]),
    st.lists(ENDS | st.sampled_from([" ", ", ", " (", ")", ".*", "\\1"]), max_size=8).map("".join),
)
def test_any_name_is_only_put_before_its_address(pairs: list[tuple[str, str]], text: str) -> None:
    shown = with_names(text, named(*pairs))
    assert len(shown) >= len(text) and shown.replace("\\1", "").isprintable()
    if not any(name for _, name in pairs):
        assert shown == text


def test_a_hostile_name_is_harmless() -> None:
    shown = with_names("10.0.0.1 wrote", named(("10.0.0.1", "a\x1b[31m\u202e10.0.0.1")))
    assert shown.isprintable() and shown.endswith(" (10.0.0.1) wrote")
