import re
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from loadtest.chaos.plan import as_document, faults, plan, points
from pipeline.tools.chaos.faults import FaultInjector
from pipeline.tools.processes import STAGES
from tests.contract.tree import ROOT

CALL = re.compile(r'(?:failpoints\.reached|\bstep|self\._step)\(f?"([^"]+)"\)')
STATEFUL = ("featurize", "alert")
WRITING = re.compile(r'TransactionWriter\("(\w+)"')


# Steps of commands, which are no stage's; and those of a checkpoint, which comes once in 256 manifests: a round has
# fewer (tests/archive/test_checkpoint.py dies at each of them).
NOT_IN_A_ROUND = {
    *("archive.swap added", "replay.next file"),
    *("output.sent", "output.parked", "output.resent", "output.committed", "output.journal written"),
    *("intake.begun", "intake.produced", "intake.offsets sent", "intake.committed"),
    *("follow.read", "follow.begun", "follow.produced", "follow.offsets sent", "follow.committed"),
    *("archive.checkpoint written", "archive.checkpoints cleaned", "archive.checkpoints deleted"),
}


def in_the_code() -> set[str]:
    """Every failpoint the stages pass, by reading them."""
    names = set()
    sources = {path: path.read_text(encoding="utf-8") for path in (ROOT / "pipeline").rglob("*.py")}
    writing = [stage for source in sources.values() for stage in WRITING.findall(source)]
    assert writing
    for path, source in sources.items():
        for name in CALL.findall(source):
            if "stage.name}" in name or "_stage}" in name:
                stages = STATEFUL if "stage.name}" in name else writing
                names |= {f"{stage}.{name.rpartition('.')[2]}" for stage in stages}
            elif path.parent.name in {"archive", "storage"} and "." not in name:
                names.add(f"archive.{name}")
            elif "{" not in name and "." in name:
                names.add(name)
    return names - NOT_IN_A_ROUND


def test_the_table_names_exactly_the_points_in_the_code() -> None:
    assert {point for stage_points in points().values() for point in stage_points} == in_the_code()


def test_every_fault_can_be_done_and_hits_stages_there_are() -> None:
    assert set(faults()) == set(FaultInjector._HOW)
    assert {stage for fault in faults().values() for stage in fault.stages} <= {*STAGES, ""}
    assert set(points()) <= set(STAGES)


@given(st.integers(0, 10_000), st.integers(0, 50), st.integers(1, 60))
def test_a_plan_follows_from_its_seed(seed: int, number: int, count: int) -> None:
    injections = plan(seed, number, count)
    assert injections == plan(seed, number, count)
    assert [injection.number for injection in injections] == list(range(count))
    for injection in injections:
        assert injection.stage in faults()[injection.fault].stages
        assert bool(injection.point) == (injection.fault == "failpoint")
        assert not injection.point or injection.point.partition(":")[0] in points()[injection.stage]


def test_two_seeds_strike_differently() -> None:
    assert as_document(plan(1, 0, 20)) != as_document(plan(2, 0, 20))
    assert as_document(plan(1, 0, 20)) != as_document(plan(1, 1, 20))


def test_every_point_has_its_turn() -> None:
    known = [point for stage_points in points().values() for point in stage_points]
    injected = Counter(
        injection.point.partition(":")[0]
        for number in range(4)
        for injection in plan(3, number, len(known), ["failpoint"])
    )
    assert set(injected) == set(known)
    assert max(injected.values()) - min(injected.values()) <= 1


def test_only_what_was_asked_for() -> None:
    assert {injection.fault for injection in plan(5, 0, 50, ["kill", "broker"])} == {"kill", "broker"}
