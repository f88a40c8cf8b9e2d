"""A sensor's history in lines for people. Pure."""

from collections.abc import Mapping
from typing import Any

from pipeline.contracts.notice_words import headline, moment, relation_lines
from pipeline.contracts.notices import RELEARNT
from pipeline.tools.sensors.histories import SensorHistory


def history_lines(history: SensorHistory) -> list[str]:
    """What happened to a sensor's baseline, oldest first: a line a notice, and under it one a relation."""
    lines, began_us = list[str](), 0
    for number, notice in enumerate([*history.notices, history.last.notice]):
        if notice.figures["began_us"] not in (0, began_us):  # 0: no flow has come since it was forgotten
            began_us = notice.figures["began_us"]
            lines.append(f"{moment(began_us)}       learning from its first flow on")
        if number < len(history.notices):
            lines.append(f"{moment(notice.at_us)}  {f'#{notice.number}':<4} {headline(notice)}")
            lines += [f"{'':28}{line}" for line in relation_lines(notice)]
        if notice.kind == RELEARNT:
            began_us = 0
    return lines


_OUTCOMES = {
    "waiting": "no calibration of the model is fitted yet",
    "calibrated": "the model is calibrated for it",
    "passed": "a fitted calibration of the model passes; forebay retrain fit --promote lets it judge",
    "promoted": "a fitted calibration of the model was promoted: its suspects add to what the baseline shows",
    "refused": "a fitted calibration of the model was refused; the baseline decides alone",
    "withdrawn": "the fitted calibration of before it learnt again was withdrawn; the baseline decides alone",
}


_JUDGES_STILL = (
    "the fitted calibration of before it learnt again still judges, forebay retrain fit --promote replaces or "
    "withdraws it; the new one "
)
_NEW_ONES = {"waiting": "cannot be fitted yet", "passed": "passes", "refused": "was refused"}


def fitted_line(record: Mapping[str, Any]) -> str:
    """What came of the last calibration fitted for a sensor, and why."""
    outcome = str(record.get("outcome"))
    says = _OUTCOMES.get(outcome, "the last fitted calibration is not known")
    if record.get("stale") and outcome in _NEW_ONES:
        says = _JUDGES_STILL + _NEW_ONES[outcome]
    reasons = "; ".join(str(reason) for reason in record.get("against") or ())
    compared = record.get("comparison")
    if not reasons and isinstance(compared, dict):
        reasons = (
            f"it adds {compared.get('added'):,} of {compared.get('aside'):,} samples that the baseline does not show, "
            f"{compared.get('added_an_hour'):g} flows an hour"
        )
    return f"{says} ({reasons})" if reasons else says
