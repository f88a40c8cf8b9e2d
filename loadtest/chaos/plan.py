"""What hits whom, and when: a campaign's plan follows from its seed alone."""

import random
import tomllib
from collections.abc import Collection
from dataclasses import asdict, dataclass
from functools import cache
from importlib.resources import files
from typing import Any

GAP_S = (0.2, 2.0)


@dataclass(frozen=True, slots=True)
class Fault:
    """A kind of fault: its name, what happens, whom it may befall, and how often it is drawn."""

    name: str
    what: str
    stages: tuple[str, ...]
    weight: int


@dataclass(frozen=True, slots=True)
class Injection:
    """One fault at one moment.

    `after_s`: seconds after the injection before it; `stage`: whom it hits, empty for none; `point`: where a failpoint
    ends it, `NAME:N`; `seed`: of whatever else is drawn when it is injected.
    """

    number: int
    after_s: float
    fault: str
    stage: str
    point: str
    seed: int

    def __str__(self) -> str:
        where = self.point or self.stage
        return f"{self.fault} {where}".strip()


@cache
def _table() -> dict[str, Any]:
    return tomllib.loads(files("loadtest.chaos").joinpath("faults.toml").read_text("utf-8"))


@cache
def faults() -> dict[str, Fault]:
    """All kinds of faults, by name."""
    return {
        name: Fault(name, str(row["what"]), tuple(row["stages"]), int(row["weight"]))
        for name, row in _table()["faults"].items()
    }


@cache
def points() -> dict[str, tuple[str, ...]]:
    """Every failpoint of each stage."""
    return {stage: tuple(f"{stage}.{step}" for step in steps) for stage, steps in _table()["points"].items()}


def plan(seed: int, round_number: int, count: int, only: Collection[str] = ()) -> list[Injection]:
    """The injections of a round, in order: `count` of them, of the faults in `only` (empty: of all).

    Every failpoint's turn comes: stages and points are taken from a shuffled deck, not drawn with replacement.
    """
    deck = [(stage, point) for stage, stage_points in points().items() for point in stage_points]
    # The campaign has one deck. A round continues at the card after those that the rounds before it took.
    random.Random(seed).shuffle(deck)
    card = sum(_drawn(seed, before, count, only, deck, 0)[1] for before in range(round_number))
    return _drawn(seed, round_number, count, only, deck, card)[0]


def _drawn(
    seed: int, round_number: int, count: int, only: Collection[str], deck: list[tuple[str, str]], card: int
) -> tuple[list[Injection], int]:
    """A round's injections with the cards from index `card` on, and how many cards they take."""
    drawn, first = random.Random(f"{seed}/{round_number}"), card
    kinds = [fault for fault in faults().values() if not only or fault.name in only]
    injections = []
    for number in range(count):
        fault = drawn.choices(kinds, [kind.weight for kind in kinds])[0]
        stage, point = drawn.choice(fault.stages), ""
        if fault.name == "failpoint":
            stage, point = deck[card % len(deck)]
            point = f"{point}:{drawn.randint(1, _table()['deepest'][stage])}"
            card += 1
        after_s = round(drawn.uniform(*GAP_S), 2)
        injections.append(Injection(number, after_s, fault.name, stage, point, drawn.getrandbits(32)))
    return injections, card - first


def as_document(injections: list[Injection]) -> list[dict[str, Any]]:
    """The injections as JSON has them."""
    return [asdict(injection) for injection in injections]
