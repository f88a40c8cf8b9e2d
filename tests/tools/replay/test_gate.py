"""A backtest's gate: what gives it nothing to judge by does not pass it."""

from typing import Any

from pipeline.tools.cli.model_backtest import Bounds, gate


def document(both: int = 9, **second: Any) -> dict[str, Any]:
    return {
        "second": {"incidents_a_day": 1.0, **second},
        "incidents": {"lost": 0, "gained": 0},
        "flows": {"both": both},
    }


def test_without_a_flow_in_both_nothing_passes() -> None:
    assert gate(document(), Bounds(max_lost=0)) == []
    for bounds in (Bounds(), Bounds(max_lost=0)):
        [refused] = gate(document(both=0), bounds)
        assert refused.startswith("no flow is in both")


def test_without_an_incident_judged_false_its_bound_does_not_pass() -> None:
    verdicts = {"recall": 1.0, "false": 0, "false_raised": 0}
    [refused] = gate(document(verdicts=verdicts), Bounds(max_false_verdicts=0, min_confirmed=1.0))
    assert refused.startswith("incidents judged false: no incident")
    assert gate(document(verdicts={**verdicts, "false": 1}), Bounds(max_false_verdicts=0)) == []
