"""The models a worker has loaded: the first one, and the promoted ones used last."""

from collections import OrderedDict
from pathlib import Path

import numpy as np

from models.errors import EarlierModel, RefusedModel
from models.serving import registry
from models.serving.model import Model
from models.serving.registry import Registry
from models.serving.score import Scorer
from pipeline.contracts.promotions import Promotion
from pipeline.errors import Misconfigured, RefusedState

# Beside the first one: the one that holds and the one that will. An older one is loaded again when a late row needs it.
MAX_PROMOTED = 2


class ModelCache:
    """The models that are loaded: the first one, and at most two promoted ones.

    Parameters
    ----------
    first : str
        Model of rows older than every promotion: an id, a folder, or empty for the shipped one.
    folder : Registry
        The registry: a folder or a storage.
    device : str
        `cpu` or `cuda`.
    """

    def __init__(self, first: str, folder: Registry, device: str) -> None:
        self._folder = folder
        self._where = folder if isinstance(folder, Path) else folder.uri
        self._device = device
        self._loaded: OrderedDict[str, Scorer] = OrderedDict()
        try:
            self.first = _warm(registry.load(first, folder), device)
        except RefusedModel as error:
            raise Misconfigured(str(error)) from error

    def unusable(self, promotion: Promotion) -> str | None:
        """Why a promoted model cannot be used here, None where it can."""
        try:
            self._load(promotion)
        except RefusedModel as error:
            return str(error)
        return None

    def scorer(self, promotion: Promotion | None) -> Scorer:
        """The scorer of a promotion that holds, None for the first one; RefusedState where its model is gone."""
        if promotion is None:
            return self.first
        try:
            return self._load(promotion)
        except EarlierModel as error:
            raise RefusedState(
                f"promotion {promotion.id} holds: {error}; for {self.first.model.id} to score instead, empty the topic "
                "of promotions as docs/operations.md says under Upgrade"
            ) from error
        except RefusedModel as error:
            raise RefusedState(
                f"promotion {promotion.id} holds, but its model cannot be used: {error}; put it into {self._where}"
            ) from error

    def _load(self, promotion: Promotion) -> Scorer:
        scorer = self._loaded.get(promotion.model)
        if scorer is None:
            scorer = _warm(promoted(promotion, self._folder, self.first.model), self._device)
            self._loaded[promotion.model] = scorer
        self._loaded.move_to_end(promotion.model)
        while len(self._loaded) > MAX_PROMOTED:
            self._loaded.popitem(last=False)
        return scorer

    @property
    def ids(self) -> list[str]:
        """Ids of the models loaded."""
        return [self.first.model.id, *self._loaded]


def promoted(promotion: Promotion, folder: Registry, first: Model) -> Model:
    """A promotion's model; RefusedModel where it is not the one it says, or of other features than `first`."""
    registry.within(folder, promotion.uri)
    model = registry.load(promotion.uri, folder)
    if (model.id, model.sha256) != (promotion.model, promotion.sha256):
        raise RefusedModel(
            f"model {promotion.uri}: got {model.id} {model.sha256[:12]}, expected {promotion.model} "
            f"{promotion.sha256[:12]} as the promotion says"
        )
    model.expect_features(first.document["feature_set"], first.document["feature_hash"])
    return model


def _warm(model: Model, device: str) -> Scorer:
    """The model on its device after a first forward, which compiles what later ones reuse: no flow waits for that."""
    scorer = Scorer(model, device)
    scorer.score(np.zeros((1, len(model.features)), np.float32), np.zeros(1, np.int64), np.array([""]))
    return scorer
