"""`forebay model evaluate --protocol names`: what suspects of other sensors and plants are called; what is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import orjson
from rich.markup import escape
from rich.table import Table

from pipeline.errors import Usage
from pipeline.runtime.terminal import printable
from pipeline.settings import load_settings
from pipeline.tools.cli.model_options import refusals, registry_of
from pipeline.tools.cli.output import emit, say

if TYPE_CHECKING:
    from pipeline.tools.offline.naming_figures import Named

# Of suspects, so many may have a wrong name.
WRONG_SHARE = 0.02
FILE = "names.json"
LEFT_OUT = {"rt-iot2022": "its table has neither times nor addresses: no feature of a flow can be computed from it"}


def evaluate_names(model: str, registry: str | None, data: Path | None, out: Path | None, quiet: bool) -> None:
    """Westermo across sensors, with models trained here, and captures of other plants with `model`."""
    from models.igan.config import IganConfig
    from models.serving import registry as models
    from pipeline.tools.offline.naming_figures import foreign_plants, other_sensor

    if data is None:
        raise Usage("--data: names reads captures of other plants; name their folder")
    settings = load_settings()
    judged: list[Named] = []
    with refusals():
        loaded = models.load(model, registry_of(registry))
        for train_on, test_on in (("left", "bottom"), ("bottom", "left")):
            judged += other_sensor(train_on, test_on, settings, IganConfig())
        judged += foreign_plants(loaded, data, settings)
    say(_table(judged), quiet)
    for name, reason in LEFT_OUT.items():
        say(f"left out: {name}, {reason}", quiet)
    document = {
        "model": loaded.id,
        "wrong_share_at_most": WRONG_SHARE,
        "highest_wrong_share": max(named.wrong_share for named in judged),
        "left_out": LEFT_OUT,
        "plants": [named.document() for named in judged],
    }
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        (out / FILE).write_bytes(orjson.dumps(document, option=orjson.OPT_INDENT_2))
    emit(document)


def _table(judged: list[Named]) -> Table:
    """A row a plant, as it is and calibrated."""
    table = Table(
        *("plant", "calibrated", "flows", "suspects", "likeliest an attack", "named", "wrongly", "of suspects"),
        box=None,
        padding=(0, 2, 0, 0),
    )
    for named in judged:
        counts = (named.flows, named.suspects, named.likeliest_named, named.named, named.wrong)
        table.add_row(
            escape(printable(named.plant)),
            "yes" if named.calibrated else "no",
            *(f"{count:,}" for count in counts),
            f"{named.wrong_share:.2%}",
        )
    return table
