"""Whether the model that scores can be used: it loads, reads the features that are computed, and knows the sensors."""

from collections.abc import Iterable

from pipeline.contracts.envelope import SensorName
from pipeline.errors import ForebayError
from pipeline.runtime.terminal import printable
from pipeline.settings import Settings
from pipeline.tools.doctor.findings import Finding

MAX_NAMED = 5


def scoring_model(settings: Settings, promoted: str, sensors: Iterable[SensorName]) -> list[Finding]:
    """The model in two rows: itself, and which of the live sensors it is calibrated for.

    promoted : the model of the last promotion that holds, "" where there is none
    sensors : those that have sent flows
    """
    try:
        from models.errors import RefusedModel
        from models.serving import registry
        from models.serving.model import POOLED
        from pipeline.featurize.feature_sets import named
        from pipeline.runtime.storage.location import folder_or_storage
    except ImportError as error:
        return [
            Finding("model", "warn", f"not checked without {error.name}", "in the checkout: pip install '.[model]'")
        ]
    name = promoted or settings.model
    whence = "promoted" if promoted else "FOREBAY_MODEL" if settings.model else "shipped"
    try:
        model = registry.load(name, folder_or_storage(settings.registry_uri, "models"))
        features = named(settings.feature_set, live=True)
        model.expect_features(features.name, features.hash)
    except (RefusedModel, ForebayError) as error:
        remedy = "`forebay model list` names those that are there; set FOREBAY_MODEL, or promote another"
        return [Finding("model", "fail", str(error), remedy, "a model made for the features that featurize computes")]
    rows = [Finding("model", "ok", f"{model.id} ({whence}), {features.name}")]
    names = sorted("/".join(sensor) for sensor in sensors)
    calibrated = [each for each in names if model.origin_of(each) != POOLED]
    if names:
        others = [each for each in names if each not in calibrated]
        shown = ", ".join(printable(each) for each in others[:MAX_NAMED])
        more = f" and {len(others) - MAX_NAMED} more" if others[MAX_NAMED:] else ""
        own = f"; by their own baselines alone: {shown}{more}" if others else ""
        rows.append(Finding("calibration", "ok", f"for {len(calibrated)} of {len(names)} sensors{own}"))
    return rows
