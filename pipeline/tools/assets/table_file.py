"""The inventory as a CSV file for spreadsheets: no cell begins as a formula does, none holds what is not printable."""

import csv
import io
from collections.abc import Iterable
from typing import Any

from pipeline.contracts.notice_words import moment
from pipeline.runtime.terminal import printable
from pipeline.tools.assets.documents import Asset, services

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
FORMULA = ("=", "+", "-", "@")
"""What Excel, LibreOffice and Google Sheets take for the start of a formula. Tabs and line ends, after which they
would look again, are not printable."""
TEXT = "'"
"""Put before such a text; spreadsheets take it for a mark that text follows. Import takes it away again."""


def cell(value: Any) -> str:
    """A value as a cell that is nothing but text; white space in front does not hide a formula either."""
    text = "" if value is None else printable(str(value))
    return f"{TEXT}{text}" if text.lstrip().startswith((*FORMULA, TEXT)) else text


def plain(text: str) -> str:
    """A cell as it was before `cell`."""
    rest = text.removeprefix(TEXT)
    return rest if rest.lstrip().startswith((*FORMULA, TEXT)) else text


def csv_text(assets: Iterable[Asset]) -> str:
    """The devices, one a line, under a line of COLUMNS."""
    sink = io.StringIO(newline="")
    writer = csv.writer(sink)
    writer.writerow(COLUMNS)
    for asset in assets:
        writer.writerow([cell(value) for value in _row(asset)])
    return sink.getvalue()


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
