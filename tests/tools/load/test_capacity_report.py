from pathlib import Path
from typing import Any

import orjson

from loadtest.workload.objectives import objective_of
from loadtest.workload.scenario import read_scenario
from pipeline.tools.load.capacity import Bounds, Step, summary
from pipeline.tools.load.capacity_report import drawn, facts_of, markdown, step_line, verdict, write_capacity
from pipeline.tools.load.machine import machine
from pipeline.tools.load.run import LoadRequest
from tests.tools.load.reports import report

BOUNDS = Bounds(500, 100, 4_000, 0.1, 20)


def document(*steps: Step) -> dict[str, Any]:
    request = LoadRequest(read_scenario("steady-plant"), BOUNDS.start, 10, 2)
    facts = facts_of(request, [objective_of("p99=50ms")], BOUNDS)
    return {**facts, "machine": machine(), **summary(list(steps), BOUNDS)}


def test_the_answer_is_between_what_held_and_what_did_not() -> None:
    held, broke = Step(1_000, (), report()), Step(1_050, ("slow",), report(), tries=2)
    assert verdict(document(held, broke)) == "1,000 records/s held, 1,050 did not (slow)"
    assert verdict(document(Step(4_000, (), report()))) == "4,000 records/s held; no higher rate was to be tried"
    assert verdict(document(Step(100, ("slow",), report()))).startswith("100 did not (slow); no lower rate")
    assert verdict(document(held)).endswith("the search was not over yet")
    unknown = Step(1_050, ("not known",), report(error=90), known=False)
    assert verdict(document(held, unknown)).endswith("1,050 counts as one that did not (not known)")
    assert "still at work" in verdict(document(Step(1_000, ("slow",), report(), rested=False)))
    assert verdict(document()).startswith("no rate was tried")


def test_a_step_is_a_line() -> None:
    line = step_line(Step(1_000, ("slow",), report(p99_ms=80, slope=12), tries=2))
    assert line.strip() == (
        "1,000/s  scored p50 5 ms, p99 80 ms, lag +12 ± 0/s  does not hold: slow (2 tries, the last of 10 s)"
    )
    assert step_line(Step(1_000, (), report(p99_ms=None))).endswith("p99 none, lag +0 ± 0/s  holds")
    short = Step(1_000, ("why",), report(slope=None, error=None), known=False)
    assert step_line(short).endswith("lag not known  counts as one that does not hold: why")


def test_what_is_written_says_where_and_when(tmp_path: Path) -> None:
    found = document(Step(2_000, ("slow",), report()), Step(1_000, (), report()))
    written = write_capacity(found, tmp_path / "out")
    assert orjson.loads(Path(written["capacity.json"]).read_bytes()) == found
    text = Path(written["capacity.md"]).read_text(encoding="utf-8")
    assert text == markdown(found)
    assert text.index("| 1,000 |") < text.index("| 2,000 |") and text.count("| yes |") == 1
    assert "Wanted: scored p99 <= 50 ms, a lag that does not grow." in text and "Forebay" in text
    assert "<svg" in Path(written["capacity.svg"]).read_text(encoding="utf-8")


def test_the_picture_is_drawn_of_any_steps() -> None:
    steps = document(Step(1_000, (), report()), Step(500, (), report()))["steps"]
    assert drawn("steady <plant>", steps, {"p99 <= 50 ms": 50.0}).count("<polyline") == 5
    assert "steady &lt;plant&gt;" in drawn("steady <plant>", steps[:1], {})
    assert "nothing was measured" in drawn("none", [], {})
