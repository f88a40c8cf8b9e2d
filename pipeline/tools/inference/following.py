"""Which promoted model the server scores with, and the change to the next one while requests run.

Score picks a model per row by its event time. A request has none: its rows are taken as of now, by the server's clock.
"""

import asyncio
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

import numpy as np

from pipeline.contracts.promotions import Promotion, PromotionLedger
from pipeline.runtime.telemetry.logs import log
from pipeline.score.model_cache import promoted
from pipeline.tools.inference.current_service import CurrentService
from pipeline.tools.inference.measures import STAGE, Measures
from pipeline.tools.inference.scoring_service import ScoringService

if TYPE_CHECKING:
    from models.serving.model import Model
    from models.serving.registry import Registry

LOOK_EVERY_S = 1.0


class Reader(Protocol):
    """The promotions of the topic `models`."""

    def read_on(self) -> PromotionLedger:
        """The ledger with all that has come."""


def holding(ledger: PromotionLedger, now_us: int) -> Promotion | None:
    """The promotion that holds for rows of now; None: the first model does."""
    index = int(ledger.model_index(np.array([now_us], np.int64))[0])
    return ledger.holding[index - 1] if index else None


class Following:
    """Follows promotions: looks once a second, loads a model beside the one that scores, and swaps.

    Parameters
    ----------
    reader : the promotions; asked from one thread at a time
    folder : the registry
    first : the model before any promotion, and a fresh one each time: an engine writes into its own
    service_of : a service of models that a function loads, its engines warm
    """

    def __init__(
        self,
        reader: Reader,
        folder: "Registry",
        first: "Callable[[], Model]",
        service_of: "Callable[[Callable[[], Model]], ScoringService]",
        measures: Measures,
        clock_us: Callable[[], int] = lambda: time.time_ns() // 1_000,
    ) -> None:
        self._reader, self._folder, self._first, self._service_of = reader, folder, first, service_of
        self._features_of = first()
        self._measures, self._clock_us = measures, clock_us
        # Already logged: the promotion that cannot be used ("" is the model before any), and the last fault.
        self._unusable: str | None = None
        self._failed: str | None = None

    def service(self) -> ScoringService:
        """A service of the model that holds now; RefusedModel where it cannot be used."""
        return self._made(self._holding())

    async def follow(self, current: CurrentService) -> None:
        """Swap whenever another model holds, for ever. A fault is logged, and the model that scores stays."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            try:
                await self.look(current)
                self._failed = None
            except Exception as error:  # whatever it is, requests are answered by the model that is there
                if self._failed != repr(error):
                    self._failed = repr(error)
                    self._measures.error()
                    log(STAGE).error("promotions cannot be followed", error=repr(error), exc_info=True)

    async def look(self, current: CurrentService) -> None:
        """Swap if another model holds than the one that scores."""
        promotion = await asyncio.to_thread(self._holding)
        wanted = self._features_of.id if promotion is None else promotion.model
        before = current.now.model.id
        if wanted == before:
            return
        try:
            following = await asyncio.to_thread(self._made, promotion)
        except Exception as error:
            name = "" if promotion is None else promotion.id
            if self._unusable != name:
                self._unusable = name
                self._measures.promoted("unusable")
                log(STAGE).error("promoted model cannot be used", promotion=name, model=wanted, error=str(error))
            return
        self._unusable = None
        log(STAGE).info("model", id=wanted, before=before, promotion="" if promotion is None else promotion.id)
        self._measures.promoted("swapped")
        self._measures.serves(wanted, following.device)
        await current.swap(following)

    def _holding(self) -> Promotion | None:
        return holding(self._reader.read_on(), self._clock_us())

    def _made(self, promotion: Promotion | None) -> ScoringService:
        if promotion is None:
            return self._service_of(self._first)
        return self._service_of(lambda: promoted(promotion, self._folder, self._features_of))
