"""Which model scores a replayed flow: one that was named, those that hold by topic `models`, or the recorded one."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.alert.explain import Baseline
from pipeline.alert.manifests import Manifests
from pipeline.contracts.promotions import PromotionLedger, ledger_of
from pipeline.errors import RefusedState
from pipeline.runtime.kafka.tail import Follower
from pipeline.runtime.storage.location import folder_or_storage
from pipeline.settings import Settings
from pipeline.tools.replay.request import ARCHIVE, Request

SHIPPED = "shipped"


class Scoring:
    """The models of one replay; a row's score does not depend on what it is batched with."""

    def __init__(self, settings: Settings, request: Request, partitions: int) -> None:
        from pipeline.score.device import choose_device
        from pipeline.score.model_cache import ModelCache

        self._settings = settings
        self._device = choose_device(settings.device)[0]
        self._manifests = Manifests(settings.registry_uri)
        self._caches: dict[str, ModelCache] = {}
        self._recorded = request.source == ARCHIVE and request.model is None
        self._partitions = partitions
        self._ledger = PromotionLedger(partitions)
        if not self._recorded:
            first = settings.model if request.model is None else request.model
            self._first = self._cache("" if first == SHIPPED else first)
            if request.model is None:
                self._follow()

    def _cache(self, model: str):  # type: ignore[no-untyped-def]  # torch comes with the type
        from pipeline.score.model_cache import ModelCache

        if model not in self._caches:
            self._caches[model] = ModelCache(
                model, folder_or_storage(self._settings.registry_uri, "models"), self._device
            )
        return self._caches[model]

    def _follow(self) -> None:
        """The promotions as the log has them in the end: no worker has scored a row otherwise."""
        follower = Follower(self._settings, "replay-models", self._settings.topics.models)
        try:
            payloads = (message.value() for message in follower.catch_up())
            self._ledger = ledger_of(payloads, self._partitions)
        finally:
            follower.close()

    def expect(self, feature_set: str, feature_hash: str) -> None:
        """RefusedModel unless the named model was trained on these features; recorded ones were."""
        if not self._recorded:
            self._first.first.model.expect_features(feature_set, feature_hash)

    def score(self, batches: Sequence[pa.RecordBatch]) -> list[pa.RecordBatch]:
        """Batches of schema `features`, or of `scored` whose scores are replaced; schema `scored` comes out."""
        from pipeline.score.scoring import score_batches

        if not self._recorded:
            return score_batches(batches, self._ledger, self._first)
        return [self._score_recorded(batch) for batch in batches]

    def _score_recorded(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        from pipeline.score.scoring import score_batches

        parts, indices = [], []
        for model in pc.unique(batch.column("model")).to_pylist():
            here = np.flatnonzero(pc.equal(batch.column("model"), model).to_numpy(zero_copy_only=False))
            whole = len(here) == len(batch)
            part = batch if whole else batch.take(pa.array(here))
            parts += score_batches([part], self._ledger, self._recorded_cache(model))
            indices.append(here)
        if len(parts) == 1:
            return parts[0]
        if not parts:
            return batch
        back = np.argsort(np.concatenate(indices), kind="stable")
        return pa.concat_batches(parts).take(pa.array(back))

    def _recorded_cache(self, model: str):  # type: ignore[no-untyped-def]
        for known in (model, ""):
            try:
                cache = self._cache(known)
            except RefusedState:
                continue
            if cache.first.model.id == model:
                return cache
        raise RefusedState(
            f"model {model}: scored flows of this archive and is not in {self._settings.registry_uri}; put it there, "
            "or name another one with --model"
        )

    def baseline_of(self, model: str) -> Baseline | None:
        """What reasons are explained with."""
        return self._manifests.baseline_of(model)
