"""What a candidate is made from, whichever command makes it: the model in use, and what labels say."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.errors import RefusedState

if TYPE_CHECKING:
    from models.serving.model import Model
    from pipeline.retrain.labels import Labels
    from pipeline.settings import Settings


def current_model(settings: Settings, promoted: str) -> Model:
    """The model in use: the one promoted last, else the one workers start with."""
    from models.errors import RefusedModel
    from models.serving import registry
    from pipeline.runtime.storage.location import folder_or_storage
    from pipeline.tools.offline.training_rows import feature_set

    features = feature_set()
    try:
        current = registry.load(promoted or settings.model, folder_or_storage(settings.registry_uri, "models"))
        current.expect_features(features.name, features.hash)
    except RefusedModel as error:
        raise RefusedState(str(error)) from error
    return current


def given_labels(settings: Settings, files: list[Path], verdicts: bool, current: Model) -> Labels:
    """What label files and, if asked for, the analysts' verdicts say of flows."""
    from pipeline.retrain.labels import Labels
    from pipeline.runtime.kafka.clients import require_broker
    from pipeline.tools.alerts.verdicts import verdicts as read_verdicts

    labels = Labels()
    for path in files:
        labels.add_file(path, current.classes)
    if verdicts:
        require_broker(settings)
        judged, malformed = read_verdicts(settings)
        labels.add_verdicts(judged, current.classes[current.config.benign :])
        labels.unusable += malformed
    return labels
