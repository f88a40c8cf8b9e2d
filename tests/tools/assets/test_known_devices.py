"""What alerts say of devices: the plant's names, and roles as the guesses that they are."""

import pytest

from pipeline.tools.assets.devices import assets_of
from pipeline.tools.assets.documents import Asset, assets_in
from pipeline.tools.assets.inventory import inventory_of
from pipeline.tools.assets.known_devices import about, called, known_devices
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
    assert called(devices, "plant", HMI) == "HMI north (10.0.0.1)"
    assert called(devices, "other", HMI) == HMI and called(devices, "plant", PLC) == PLC
    assert about(devices, "plant", PLC) == "10.0.0.20, controller (high), criticality critical"
    assert devices["plant", PLC] is devices["plant", "00:1b:1b:00:00:01"]
    assert ("plant", "10.0.0.3") not in devices, "there is nothing to say of it"
    assert called(devices, "plant", "10.9.9.9") == "Spare (10.9.9.9)"


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


@pytest.mark.parametrize("text", ["\x1b[31mred", "a\u202eb", "\n", "x" * 5_000])
def test_what_came_from_the_network_is_shown_harmless(text: str) -> None:
    shown = about({}, "plant", text)
    assert shown.isprintable() and len(shown) <= 128
