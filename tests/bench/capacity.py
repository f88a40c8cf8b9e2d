"""The highest rates that hold, by what is asked of the latency, and latency by rate.

`python -m tests.bench.capacity [--start N] [--seconds N]`: the search of `forebay load capacity` in a system of its
own, with lateness 0 and nothing gathered on purpose; for each objective in turn, with the runs that there are already.
Six minutes, and more where it is not known at once whether a lag grows. Writes docs/performance/capacity.json and
capacity.svg, and the tables of the docs.
"""

import argparse
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import orjson

from loadtest.workload.objectives import objective_of
from loadtest.workload.scenario import LoadScenario, read_scenario
from loadtest.workload.streams import tapes_of
from pipeline.tools.load.capacity import Bounds, search, summary
from pipeline.tools.load.capacity_report import drawn, facts_of, step_line, verdict
from pipeline.tools.load.run import LoadRequest, speed_of
from pipeline.tools.load.targets import learning_for, local_target
from pipeline.tools.load.trials import Progress, Trials
from tests.bench import figures
from tests.docs.performance import quietest
from tests.docs.tables import write_pages

WANTED = ((), ("p99=1s",), ("p99=250ms",))
"""What is asked beside a lag that does not grow, each a search of its own."""
SITES = 4
WITHOUT_WAITING = {"FOREBAY_LATENESS_US": "0", "FOREBAY_GATHER_MS": "0"}
QUICK = Bounds(500, 500, 500, 0.25, 1)


def scenario() -> LoadScenario:
    """Four plants at work by day; later large transfers out of each, so that there are alerts that have a latency."""
    return replace(read_scenario("exfiltration"), name="four-plants", sites=SITES, seeds=2)


@contextmanager
def _unseen(_rate: float) -> Iterator[Progress]:
    yield lambda _done, _total: None


def searched(trials: Trials, wanted: Sequence[str], bounds: Bounds) -> dict[str, Any]:
    """One search: its objectives, and its answer."""
    objectives = [str(objective_of(text)) for text in wanted]
    steps = trials.known(objectives)
    for step in search(lambda rate: trials.step(rate, objectives), bounds, steps):
        steps.append(step)
        print(step_line(step), flush=True)
    answer = summary(steps, bounds)
    del answer["steps"]
    print(f"{', '.join(objectives) or 'the lag alone'}: {verdict(answer)}", flush=True)
    return {"objectives": objectives, **answer}


def measured(request: LoadRequest, bounds: Bounds) -> dict[str, Any]:
    """All searches in one system, and every run that was made for them."""
    tapes = tapes_of(request.scenario, request.seed)
    objectives = [objective_of(text) for wanted in WANTED for text in wanted]
    with local_target(learning_for(speed_of(request, tapes) * request.duration_s)) as target:
        trials = Trials(target, request, tapes, objectives, _unseen)
        assert trials.warm_up(), "still at work after the first rate"
        answers = [searched(trials, wanted, bounds) for wanted in WANTED]
    return {
        **facts_of(request, objectives, bounds),
        "lateness_us": 0,
        "gather_ms": 0,
        "answers": answers,
        "runs": [step.document() for step in trials.runs],
    }


def main() -> None:
    """Print a line a rate and an answer a search, and all of it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--start", type=float, default=8_000.0, help="records a second to start with")
    parser.add_argument("--seconds", type=float, default=15.0, help="of each run; a third does not count")
    parser.add_argument("--within", type=float, default=0.4, help="how close to each other the ends must be")
    parser.add_argument("--quick", action="store_true", help="one rate for six seconds, to var/performance")
    arguments = parser.parse_args()
    os.environ.update(WITHOUT_WAITING)
    started = figures.origin("python -m tests.bench.capacity")
    seconds = 6.0 if arguments.quick else arguments.seconds
    bounds = QUICK if arguments.quick else Bounds(arguments.start, 100, 200_000, arguments.within, 12)
    document = measured(LoadRequest(scenario(), bounds.start, seconds, seconds / 3), bounds)
    folder = figures.QUICK_FOLDER if arguments.quick else figures.FOLDER
    figures.write(folder, "capacity", document, started)
    picture = drawn("four plants", quietest(document["runs"]), document["limits_ms"])
    (folder / "capacity.svg").write_text(picture, encoding="utf-8")
    if not arguments.quick:
        write_pages()
    print(orjson.dumps(document).decode())


if __name__ == "__main__":
    main()
