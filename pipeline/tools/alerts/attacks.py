"""What a verdict of attack asks of the sensor's baseline: that what its sources did anew never becomes usual. Pure."""

from collections.abc import Mapping
from typing import Any

from pipeline.contracts.baseline_commands import ATTACK, MAX_TEXT, BaselineCommand
from pipeline.contracts.public_addresses import is_public
from pipeline.featurize.baseline.address_names import OUTSIDE_WORDS


def attack_commands(alert: Mapping[str, Any]) -> list[BaselineCommand]:
    """A command for each source in an alert's evidence, at most eight, with the event time in which the attack came."""
    about = alert["unmapped"]
    ends = [each["src_endpoint"] for each in alert["evidences"]]
    sources = dict.fromkeys(_as_noted(end.get("ip") or end.get("name", "")) for end in ends)
    times = {"first_us": about["first_ts_us"], "last_us": about["last_ts_us"]}
    return [
        BaselineCommand(site=about["site"], sensor=about["sensor"], action=ATTACK, address=source, **times)
        for source in sources
        if 0 < len(source) <= MAX_TEXT
    ]


def _as_noted(address: str) -> str:
    """An address as a baseline notes it: all public ones count as one."""
    return OUTSIDE_WORDS if is_public(address) else address
