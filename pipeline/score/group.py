"""One group of features messages, from bytes to bytes: decode, score in one batch, route, encode. No Kafka in here."""

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from models.errors import RefusedModel
from pipeline.contracts.envelope import FeaturesFacts, MessagePosition, ScoredFacts
from pipeline.contracts.promotions import PromotionLedger
from pipeline.errors import SchemaMismatch
from pipeline.runtime.wire import messages
from pipeline.score.model_cache import ModelCache
from pipeline.score.route import Routed, route
from pipeline.score.scoring import score_batches


@dataclass(frozen=True, slots=True)
class Features:
    """A features message, decoded, and its bytes."""

    payload: bytes
    batch: pa.RecordBatch
    facts: FeaturesFacts
    until_us: int
    """Highest event time in it, -1 without rows."""

    @property
    def seq(self) -> int:
        """Its number in its partition."""
        return self.facts.seq


def read(payload: bytes, position: MessagePosition) -> Features:
    """A features message; BadData, BadEnvelope or SchemaMismatch where it is none."""
    batch, facts = messages.read(payload, FeaturesFacts, position)
    until = pc.max(batch.column("end_ts_us")).as_py()
    return Features(payload, batch, facts, -1 if until is None else until)


def expect_features(models: ModelCache, facts: FeaturesFacts, where: object) -> None:
    """SchemaMismatch, with both names, unless the rows' features are those the model was trained on."""
    try:
        models.first.model.expect_features(facts.feature_set, facts.feature_hash)
    except RefusedModel as error:
        raise SchemaMismatch(f"{where}: {error}") from error


def score_group(group: Sequence[Features], ledger: PromotionLedger, models: ModelCache) -> list[Routed]:
    """Score a group in one batch; the routed batches of each message, in the group's order."""
    return [route(scored) for scored in score_batches([features.batch for features in group], ledger, models)]


def encoded(routed: Routed, features: Features) -> tuple[bytes, bytes, bytes | None]:
    """The messages for suspects, archive and retrain; each carries all the facts of the features message.

    None for retrain without rows: nobody counts those messages, and a partition less is in the transaction.
    """
    facts = messages.pack(ScoredFacts.of(features.facts))
    archive = messages.write_beside(features.payload, routed.archive, facts)
    is_flood = routed.suspects is routed.archive
    suspects = archive if is_flood else messages.write(routed.suspects, facts)
    retrain = messages.write(routed.retrain, facts) if routed.retrain.num_rows else None
    return suspects, archive, retrain
