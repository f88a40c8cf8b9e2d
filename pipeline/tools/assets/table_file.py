"""The inventory as a CSV file for spreadsheets."""

from collections.abc import Iterable
from typing import Any

from pipeline.contracts.notice_words import moment
from pipeline.tools.assets.documents import Asset, services
from pipeline.tools.spreadsheets import csv_table

COLUMNS = (
    *(
        "site",
        "address",
        "name",
        "criticality",
        "zone",
        "role",
        "confidence",
        "why",
        "state",
        "first_seen",
        "last_seen",
    ),
    *("hardware_address", "maker", "addresses", "sensors", "serves", "uses", "peers"),
)


def csv_text(assets: Iterable[Asset]) -> str:
    """The devices, one a line, under a line of COLUMNS."""
    return csv_table(COLUMNS, map(_row, assets))


def _row(asset: Asset) -> list[Any]:
    device = asset.device
    return [
        device.site,
        device.key,
        asset.name,
        asset.criticality,
        asset.zone,
        asset.guess.role,
        asset.guess.confidence,
        asset.guess.why,
        asset.presence.state,
        moment(device.span.first_us),
        moment(device.span.last_us),
        device.mac,
        asset.vendor,
        " ".join(device.addresses),
        " ".join(device.sensors),
        ", ".join(row["service"] for row in services(device.serves)),
        ", ".join(row["service"] for row in services(device.uses)),
        len(device.peers),
    ]
