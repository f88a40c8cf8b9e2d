"""One group of features messages, from bytes to bytes: decode, score in one batch, route, encode. No Kafka in here."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from models.errors import RefusedModel
from pipeline.contracts.promotions import PromotionLedger
from pipeline.errors import SchemaMismatch
from pipeline.runtime.wire.batches import decode, encode
from pipeline.score.model_cache import ModelCache
from pipeline.score.route import Routed, route
from pipeline.score.scoring import score_batches


@dataclass(frozen=True, slots=True)
class Features:
    """A features message, decoded."""

    batch: pa.RecordBatch
    meta: dict[str, Any]
    until_us: int
    """Highest event time in it, -1 without rows."""

    @property
    def seq(self) -> int:
        """Its number in its partition."""
        return int(self.meta["seq"])


def read(payload: bytes) -> Features:
    """A features message; BadData or SchemaMismatch where it is none."""
    batch, meta = decode(payload, "features")
    until = pc.max(batch.column("end_ts_us")).as_py()
    return Features(batch, meta, -1 if until is None else until)


def expect_features(models: ModelCache, meta: dict[str, Any], where: str) -> None:
    """SchemaMismatch, with both names, unless the rows' features are those the model was trained on."""
    try:
        models.first.model.expect_features(meta["feature_set"], meta["feature_hash"])
    except RefusedModel as error:
        raise SchemaMismatch(f"{where}: {error}") from error


def score_group(group: Sequence[Features], ledger: PromotionLedger, models: ModelCache) -> list[Routed]:
    """Score a group in one batch; the routed batches of each message, in the group's order."""
    return [route(scored) for scored in score_batches([features.batch for features in group], ledger, models)]


def encoded(routed: Routed, meta: dict[str, Any]) -> tuple[bytes, bytes, bytes]:
    """The messages for suspects, archive and retrain; each carries all the facts of the features message."""
    suspects, archive, retrain = (encode(batch, meta) for batch in routed)
    return suspects, archive, retrain
