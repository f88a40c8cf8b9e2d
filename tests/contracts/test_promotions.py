import random
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.contracts.promotions import Decision, Promotion, PromotionLedger, Refusal, ledger_of, vote
from pipeline.errors import BadData

Log = list[dict[str, Any]]
SHA256 = "0f" * 32


def promotion(name: str, from_us: int) -> dict[str, Any]:
    return {
        "kind": "promotion",
        "promotion": name,
        "model": f"m-{name}",
        "sha256": SHA256,
        "uri": f"m-{name}",
        "effective_from_us": from_us,
    }


def ledger(log: Log, partitions: int = 2) -> PromotionLedger:
    made = PromotionLedger(partitions)
    for record in log:
        made.apply(record)
    return made


def cast(log: Log, partition: int, scored_until_us: int, unusable: str | None = None) -> Log:
    """The log with every vote a partition owes."""
    votes = [dict(vote(known, partition, 2, scored_until_us, unusable)) for known in ledger(log).to_vote(partition)]
    return log + votes


def test_it_holds_when_every_partition_has_accepted() -> None:
    log: Log = [promotion("a", 100)]
    assert ledger(log).bound_us == 100
    log = cast(log, 0, 99)
    assert ledger(log).bound_us == 100
    assert not ledger(log).holding
    assert [known.id for known in ledger(log).to_vote(1)] == ["a"]
    assert not ledger(log).to_vote(0)
    log = cast(log, 1, 12)
    done = ledger(log)
    assert [known.id for known in done.holding] == ["a"]
    assert done.bound_us is None
    assert done.model_index(np.array([99, 100, 5, 1000])).tolist() == [0, 1, 0, 1]


def test_one_refusal_voids_it_and_later_votes_change_nothing() -> None:
    log = cast(cast([promotion("a", 100)], 0, 100), 1, 3)
    assert log[1]["kind"] == "refusal"
    assert "too late" in log[1]["reason"]
    assert log[1]["watermark_us"] == 100
    log += [{"kind": "acceptance", "promotion": "a", "partition": p} for p in (0, 1)]
    assert not ledger(log).holding
    assert ledger(log).bound_us is None
    # Issued again under its old id it stays void; under another it is voted on.
    assert not ledger([*log, promotion("a", 200)]).to_vote(0)
    assert ledger([*log, promotion("b", 200)]).to_vote(0)


def test_a_refusal_after_the_decision_changes_nothing() -> None:
    log = cast(cast([promotion("a", 100)], 0, 1), 1, 1)
    log.append({"kind": "refusal", "promotion": "a", "partition": 0})
    assert [known.id for known in ledger(log).holding] == ["a"]


def test_an_unusable_model_is_refused() -> None:
    log = cast([promotion("a", 100)], 0, 1, unusable="not in the registry")
    assert log[1]["reason"] == "not in the registry"
    assert ledger(log).bound_us is None


def test_promotions_must_be_ordered() -> None:
    made = ledger([promotion("a", 100), promotion("b", 100), promotion("c", 101)])
    assert [known.id for known in made.to_vote(0)] == ["a", "c"]
    [(late, after_us)] = made.untimely
    refusal = dict(vote(late, 0, 2, after_us))
    assert (refusal["kind"], refusal["watermark_us"]) == ("refusal", 100)
    made.apply(refusal)
    assert not made.untimely


def test_one_partition_cannot_vote_for_two() -> None:
    log: Log = [promotion("a", 100), *({"kind": "acceptance", "promotion": "a", "partition": 0} for _ in range(5))]
    assert not ledger(log).holding


@pytest.mark.parametrize(
    "changed",
    [
        {"effective_from_us": "soon"},
        {"effective_from_us": "5"},
        {"effective_from_us": 5.0},
        {"effective_from_us": True},
        {"effective_from_us": 2**63},
        {"effective_from_us": None},
        {"uri": None},
        {"uri": ""},
        {"sha256": None},
        {"sha256": "0f" * 31},
        {"sha256": "0F" * 32},
        {"model": 7},
        {"promotion": ""},
        {"promotion": ["a"]},
    ],
)
def test_a_malformed_promotion_changes_nothing(changed: dict[str, Any]) -> None:
    made = PromotionLedger(2)
    with pytest.raises(BadData, match=f"promotion: {next(iter(changed))}: got"):
        made.apply({**promotion("a", 1), **changed})
    assert not made.to_vote(0)
    made.apply(promotion("a", 1))  # under its own id, once it is well formed
    assert [known.id for known in made.to_vote(0)] == ["a"]


def test_a_promotion_without_a_field_changes_nothing() -> None:
    for name in ("promotion", "model", "sha256", "uri", "effective_from_us"):
        record = {key: value for key, value in promotion("a", 1).items() if key != name}
        with pytest.raises(BadData, match=f"promotion: {name}: got None"):
            PromotionLedger(2).apply(record)


@pytest.mark.parametrize("partition", [True, "1", 1.0, -1, 2, None])
@pytest.mark.parametrize("kind", ["acceptance", "refusal"])
def test_a_vote_names_one_of_the_partitions(kind: str, partition: Any) -> None:
    made = ledger([promotion("a", 100), {"kind": "acceptance", "promotion": "a", "partition": 0}])
    with pytest.raises(BadData, match="partition: got"):
        made.apply({"kind": kind, "promotion": "a", "partition": partition})
    assert made.decision("a").missing == (1,)


def test_foreign_records_change_nothing() -> None:
    made = ledger([{}, {"kind": "candidate"}, {"kind": "refusal", "promotion": "x", "partition": 0}])
    assert made.bound_us is None
    assert not made.holding


def test_malformed_messages_are_ignored_by_whoever_reads_the_whole_log() -> None:
    votes = [{"kind": "acceptance", "promotion": "a", "partition": partition} for partition in (0, 1)]
    payloads = [orjson.dumps(record) for record in [{**promotion("a", 3), "uri": 1}, promotion("a", 5), *votes]]
    read = ledger_of([b"", None, b"[]", b"{", *payloads, b"7"], 2)
    assert [(known.id, known.effective_from_us) for known in read.holding] == [("a", 5)]


def test_a_decision_says_who_has_yet_to_vote_and_why_it_is_void() -> None:
    made = ledger([promotion("a", 100)])
    assert made.decision("a") == Decision(missing=(0, 1)) == made.decision("not in the log yet")
    made.apply(vote(made.to_vote(0)[0], 0, 2, 7))
    assert made.decision("a") == Decision(missing=(1,))
    made.apply(vote(made.to_vote(1)[0], 1, 2, 7))
    assert made.decision("a") == Decision(holds=True)
    made.apply(promotion("b", 200))
    made.apply(vote(made.to_vote(0)[0], 0, 2, 250))
    refusal = made.decision("b").refusal
    assert refusal is not None and refusal.beyond_us == 250 and "too late" in refusal.reason
    made.apply(promotion("c", 300))
    made.apply(vote(made.to_vote(0)[0], 0, 2, 250, unusable="not in the registry"))
    assert made.decision("c").refusal == Refusal("not in the registry", None)
    made.apply(promotion("d", 100))  # void from the start: nobody has to be waited for
    refusal = made.decision("d").refusal
    assert refusal is not None and refusal.beyond_us == 100
    assert all(made.decision(name).is_final for name in "abcd")


def test_a_promotion_is_read_as_it_was_written() -> None:
    written = Promotion("a", "m-a", SHA256, "m-a", 7)
    assert Promotion.of(written.record("ada")) == written == Promotion.of(promotion("a", 7))


@dataclass
class Worker:
    """One partition's owner, as the worker of score behaves: reads the log, votes, scores, waits."""

    partition: int
    read: int = 0
    until_us: int = -1
    pending: list[int] = field(default_factory=list)
    scored: list[tuple[int, str]] = field(default_factory=list)

    def poll(self, log: Log, how_far: int) -> None:
        self.read = max(self.read, min(how_far, len(log)))

    def act(self, log: Log) -> None:
        made = ledger(log[: self.read], 3)
        owed = made.to_vote(self.partition)
        if owed:
            # The vote is in the log before anything else happens here, and it reads the log to its end.
            log += [dict(vote(known, self.partition, 3, self.until_us)) for known in owed]
            self.read = len(log)
            made = ledger(log, 3)
        while self.pending and (made.bound_us is None or self.pending[0] < made.bound_us):
            if made.to_vote(self.partition):
                return
            end_us = self.pending.pop(0)
            number = int(made.model_index(np.array([end_us]))[0])
            self.scored.append((end_us, made.holding[number - 1].model if number else "first"))
            self.until_us = max(self.until_us, end_us)


@given(st.integers(0, 2**32))
def test_whatever_the_interleaving_the_finished_log_names_the_model_of_every_row(seed: int) -> None:
    source = random.Random(seed)
    log: Log = []
    workers = [Worker(partition) for partition in range(3)]
    rows = {worker.partition: sorted(source.sample(range(1000), 30)) for worker in workers}
    for times in rows.values():  # some rows are late
        for _ in range(5):
            first, second = source.randrange(30), source.randrange(30)
            times[first], times[second] = times[second], times[first]
    for step in range(120):
        if source.random() < 0.08:
            log.append(promotion(f"p{step}", source.randrange(1100)))
        worker = source.choice(workers)
        for _ in range(source.randrange(3)):
            if rows[worker.partition]:
                worker.pending.append(rows[worker.partition].pop(0))
        worker.poll(log, source.randrange(worker.read, len(log) + 1))
        worker.act(log)
        if source.random() < 0.05:  # killed: its successor reads the log to its end before it does anything
            worker.poll(log, len(log))
    for _ in range(20):  # whoever waits gets its answer
        for worker in workers:
            worker.pending += rows[worker.partition]
            rows[worker.partition] = []
            worker.poll(log, len(log))
            worker.act(log)
    finished = ledger(log, 3)
    for worker in workers:
        assert not worker.pending, "nobody waits for ever"
        for end_us, model in worker.scored:
            number = int(finished.model_index(np.array([end_us]))[0])
            assert model == (finished.holding[number - 1].model if number else "first")
