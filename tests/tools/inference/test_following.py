"""Promotions that the server follows: which holds now, swapped to once, and none that cannot be used."""

import asyncio
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import RefusedModel
from models.serving import registry
from models.serving.model import Model
from models.serving.score import Scorer
from pipeline.contracts.promotions import Promotion, PromotionLedger, vote
from pipeline.errors import Failed
from pipeline.runtime.telemetry import Telemetry
from pipeline.settings import load_settings
from pipeline.tools.inference import following as module
from pipeline.tools.inference.current_service import CurrentService
from pipeline.tools.inference.following import Following, holding
from pipeline.tools.inference.measures import STAGE, Measures
from pipeline.tools.inference.scoring_service import ScoringService
from tests.score.small_model import small_model
from tests.tools.inference.server import until

FIRST, SECOND, THIRD = (small_model(seed) for seed in range(3))


def promotion(name: str, model: Model, from_us: int) -> Promotion:
    return Promotion(name, model.id, model.sha256, model.id, from_us)


def promote(ledger: PromotionLedger, made: Promotion) -> None:
    """It holds: the one partition has accepted it."""
    ledger.apply(made.record("test"))
    ledger.apply(vote(made, 0, 1, -1))


class Log:
    """A ledger of one partition, and what reading on fails with."""

    def __init__(self) -> None:
        self.ledger, self.error = PromotionLedger(1), None
        self.reads = 0

    error: Exception | None

    def read_on(self) -> PromotionLedger:
        self.reads += 1
        if self.error is not None:
            raise self.error
        return self.ledger


class Served:
    """What follows a ledger, with a registry of two models and a clock at 1,000 us."""

    def __init__(self, folder: Path) -> None:
        for model in (FIRST, SECOND):
            registry.save(model, folder)
        self.telemetry = Telemetry(STAGE, load_settings(metrics_port=-1))
        self.measures = Measures(self.telemetry)
        self.log, self.now_us, self.made = Log(), 1_000, 0
        self.following = Following(
            self.log,
            folder,
            lambda: registry.load(FIRST.id, folder),
            self.service_of,
            self.measures,
            lambda: self.now_us,
        )
        self.current = CurrentService(self.following.service())
        self.made = 0

    def service_of(self, load: Any) -> ScoringService:
        scorers = [Scorer(load(), "cpu")]
        self.made += 1
        return ScoringService(scorers, 64, 64, 1_000, self.measures)

    def look(self) -> str:
        asyncio.run(self.following.look(self.current))
        return self.current.now.model.id

    def counted(self, outcome: str) -> float | None:
        return self.telemetry.registry.get_sample_value("forebay_serve_promotions_total", {"outcome": outcome})


@pytest.fixture
def served(tmp_path: Path) -> Any:
    made = Served(tmp_path)
    yield made
    made.current.close()
    made.telemetry.close()


def test_it_swaps_once_to_the_model_that_holds_now(served: Served) -> None:
    assert served.look() == FIRST.id and served.made == 0
    promote(served.log.ledger, promotion("a", SECOND, 900))
    assert [served.look(), served.look()] == [SECOND.id] * 2
    assert served.made == 1 and served.counted("swapped") == 1
    info = served.telemetry.registry.get_sample_value
    assert info("forebay_model_info", {"model": SECOND.id, "device": "cpu"}) == 1


def test_a_promotion_counts_once_its_time_has_come_and_once_every_partition_has_voted(served: Served) -> None:
    made = promotion("a", SECOND, 2_000)
    served.log.ledger.apply(made.record("test"))
    served.now_us = 3_000
    assert served.look() == FIRST.id
    served.log.ledger.apply(vote(made, 0, 1, -1))
    served.now_us = 1_999
    assert served.look() == FIRST.id
    served.now_us = 2_000
    assert served.look() == SECOND.id
    promote(served.log.ledger, promotion("b", FIRST, 2_500))
    served.now_us = 2_600
    assert served.look() == FIRST.id


def test_a_promotion_of_the_model_that_scores_already_changes_nothing(served: Served) -> None:
    promote(served.log.ledger, promotion("a", FIRST, 900))
    assert served.look() == FIRST.id and served.made == 0


def test_a_model_that_cannot_be_used_is_said_once_and_tried_again(served: Served, tmp_path: Path) -> None:
    promote(served.log.ledger, promotion("a", THIRD, 900))
    assert [served.look(), served.look()] == [FIRST.id] * 2 and served.counted("unusable") == 1
    registry.save(THIRD, tmp_path)
    assert served.look() == THIRD.id and served.counted("swapped") == 1


@pytest.mark.parametrize(
    "made",
    [
        Promotion("a", SECOND.id, "ab" * 32, SECOND.id, 900),
        Promotion("a", SECOND.id, SECOND.sha256, "../elsewhere", 900),
        promotion("a", small_model(4, feature_hash="cd" * 32), 900),
    ],
    ids=["another digest", "outside the registry", "other features"],
)
def test_a_promotion_of_something_else_is_not_followed(served: Served, made: Promotion, tmp_path: Path) -> None:
    registry.save(small_model(4, feature_hash="cd" * 32), tmp_path)
    promote(served.log.ledger, made)
    assert served.look() == FIRST.id and served.counted("unusable") == 1


def test_one_starts_with_what_holds_and_not_with_another_model(served: Served) -> None:
    promote(served.log.ledger, promotion("a", SECOND, 900))
    started = served.following.service()
    assert started.model.id == SECOND.id
    started.close()
    promote(served.log.ledger, promotion("b", THIRD, 950))
    with pytest.raises(RefusedModel):
        served.following.service()


def test_the_model_before_any_promotion_may_be_unusable_too(served: Served, tmp_path: Path) -> None:
    """A clock that is set back to before the first promotion."""
    promote(served.log.ledger, promotion("a", SECOND, 900))
    assert served.look() == SECOND.id
    shutil.rmtree(tmp_path / FIRST.id)
    served.now_us = 800
    assert [served.look(), served.look()] == [SECOND.id] * 2 and served.counted("unusable") == 1
    registry.save(FIRST, tmp_path)
    assert served.look() == FIRST.id


@pytest.mark.parametrize("error", [Failed("nothing comes"), TimeoutError()], ids=["in words", "without a word"])
def test_what_fails_is_said_and_followed_again(
    served: Served, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    monkeypatch.setattr(module, "LOOK_EVERY_S", 0.001)
    served.log.error = error
    promote(served.log.ledger, promotion("a", SECOND, 900))

    async def run() -> None:
        task = asyncio.ensure_future(served.following.follow(served.current))
        reads = served.log.reads
        await until(lambda: served.log.reads >= reads + 3)
        assert served.current.now.model.id == FIRST.id
        served.log.error = None
        await until(lambda: served.current.now.model.id == SECOND.id)
        task.cancel()

    asyncio.run(asyncio.wait_for(run(), 60))
    assert served.telemetry.registry.get_sample_value("forebay_errors_total", {"stage": "serve"}) == 1


@given(st.lists(st.integers(0, 50), unique=True, max_size=6), st.integers(0, 60))
def test_the_last_promotion_whose_time_has_come_holds(times: list[int], now_us: int) -> None:
    ledger = PromotionLedger(1)
    for at in sorted(times):
        promote(ledger, promotion(str(at), FIRST, at))
    due = [at for at in times if at <= now_us]
    got = holding(ledger, now_us)
    assert (got.effective_from_us if got else None) == max(due, default=None)
    assert np.int64(now_us) >= (got.effective_from_us if got else 0)
