"""The runner: every fit once, stored as it finishes, resumed where it stopped."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from models.lab.protocols.fit import Unit, fit
from models.lab.protocols.run import run
from models.lab.protocols.store import Store
from models.lab.protocols.trial import Trial
from tests.models.lab.protocols.small import family, table


@dataclass(frozen=True)
class Small:
    """A few fits; seed 2 fails where `broken` says so."""

    broken: bool = False
    seeds: int = 4
    name: str = "small"

    def units(self) -> list[Unit]:
        return [Unit(self.name, "split", family(), seed) for seed in range(self.seeds)]

    def document(self, unit: Unit) -> dict[str, Any]:
        if self.broken and unit.seed == 2:
            raise ValueError("no such column")
        return fit(unit, Trial(table(200, unit.seed), [table(100, 9, "test")], "binary"))


def go(plan: Small, folder: Path) -> tuple[list[str], list[str]]:
    seen: list[str] = []
    failures = run(plan, Store(folder), 2, {"threads": 1}, lambda done, of, what, _: seen.append(f"{done}/{of} {what}"))
    return failures, seen


@pytest.mark.slow
def test_a_failure_is_told_the_rest_goes_on_and_resuming_does_only_what_is_missing(tmp_path: Path) -> None:
    failures, seen = go(Small(broken=True), tmp_path)
    assert failures == ["remembering split seed 2: ValueError: no such column"]
    assert len(seen) == 4 and any("FAILED" in line for line in seen)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "fits").rglob("*.json")}
    assert len(before) == 3
    failures, seen = go(Small(), tmp_path)
    assert failures == [] and seen == ["4/4 remembering split seed 2"]
    assert all(path.stat().st_mtime_ns == when for path, when in before.items())
    documents = Store(tmp_path).read()
    assert [document["seed"] for document in documents] == [0, 1, 2, 3]
    assert all(document["about"] == {"threads": 1} for document in documents)
