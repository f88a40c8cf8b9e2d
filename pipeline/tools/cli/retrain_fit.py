"""`forebay retrain fit`: a calibration fitted to what a sensor's own baseline calls usual."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.errors import Usage
from pipeline.tools.cli.model_promote import promoted
from pipeline.tools.cli.output import Bootstrap, Json, Prefix, busy, emit, say
from pipeline.tools.cli.retrain_inputs import current_model, given_labels
from pipeline.tools.cli.settings_here import settings_here

if TYPE_CHECKING:
    from models.rows import FeatureSet
    from models.serving.model import Model
    from pipeline.contracts.envelope import SensorName
    from pipeline.retrain.fitted import Fitted
    from pipeline.retrain.labels import Labels
    from pipeline.retrain.usual import Seen, SensorRows
    from pipeline.settings import Settings

FOR_EVER_US = (1 << 62) - 1
WAIT_S = 1_800.0
"""For so long it waits for a training that is under way: the scheduled one takes minutes."""


def fit(
    name: Annotated[str, typer.Argument(help="Site and sensor, with a slash between them.", metavar="SITE/SENSOR")],
    until_us: Annotated[int, typer.Option(help="Only samples that end by then (epoch us).")] = FOR_EVER_US,
    promote: Annotated[bool, typer.Option("--promote", help="Promote the candidate if it passes.")] = False,
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
    as_json: Json = False,
) -> None:
    """Fit a calibration to what an anchored sensor calls usual, and compare it with the sensor's own baseline.

    `forebay retrain run` does so by itself, once a sensor is anchored and then once a day. Only what is promoted goes
    into the registry: the same samples give the same candidate again. Exits 1 if the candidate does not pass, or if it
    was to be promoted and was not.
    """
    import signal

    from pipeline.retrain import fitted_records
    from pipeline.retrain.fitted import REFUSED, WAITING
    from pipeline.retrain.lock import alone

    settings = settings_here(bootstrap=bootstrap, topic_prefix=prefix)
    sensor = _sensor(name)
    # Asked to stop, it leaves as after Ctrl-C: through its cleaning up.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with alone(settings.registry_uri, WAIT_S):
            document = _fitted(settings, sensor, until_us, promote, as_json)
            fitted_records.record(settings.samples_uri, name, document)
    except KeyboardInterrupt:
        say("cancelled; the model in use is unchanged", quiet=as_json)
        raise typer.Exit(130) from None
    emit(document)
    undecided = document["promotion"] is not None and not document["promotion"]["decided"]
    if document["outcome"] in (REFUSED, WAITING) or undecided:
        raise typer.Exit(1)


def _sensor(name: str) -> "SensorName":
    from pipeline.runtime.terminal import printable
    from schemas.model_manifest import ORIGIN

    site, slash, sensor = name.partition("/")
    if not slash or not ORIGIN.fullmatch(name):
        raise Usage(f"sensor {printable(name, 260)}: expected SITE/SENSOR in letters, digits, '.', '_' and '-'")
    return site, sensor


def _fitted(settings: "Settings", sensor: "SensorName", until_us: int, promote: bool, as_json: bool) -> dict[str, Any]:
    from models.serving import registry
    from pipeline.retrain import fitted, samples, usual
    from pipeline.runtime.storage.location import folder_or_storage
    from pipeline.tools import promotion
    from pipeline.tools.offline.training_rows import feature_set

    features = feature_set()
    current = current_model(settings, promotion.current(settings))
    labels = given_labels(settings, [], True, current)
    with busy(f"fitting a calibration beside {current.id}", as_json):
        seen = usual.Seen(sensor, until_us)
        samples.read(settings.samples_uri, features.hash, seen.select, usual.KEYS)
        made = _made(settings, features, current, seen, labels)
    document = {
        "sensor": "/".join(sensor),
        "current": current.id,
        # The event time reached: the sensor is due again a day later, also where somebody asked for all there is.
        "at_us": min(until_us, seen.newest_us),
        **made.document(),
        "promotion": None,
    }
    next_model, outcome = made.model, fitted.PROMOTED
    if made.outcome in (fitted.WAITING, fitted.REFUSED):
        next_model, outcome = (fitted.withdrawn(current, sensor) if made.stale else None), fitted.WITHDRAWN
    if next_model is not None and promote:
        registry.save(next_model, folder_or_storage(settings.registry_uri, "models"))
        target = promotion.Target(next_model.id, next_model.sha256, next_model.id)
        document["promotion"] = promoted(settings, target, None, promotion.MARGIN_US, as_json)
        document["outcome"] = outcome if document["promotion"]["decided"] else made.outcome
    _say_fitted(document, as_json)
    return document


def _made(
    settings: "Settings",
    features: "FeatureSet",
    current: "Model",
    seen: "Seen",
    labels: "Labels",
) -> "Fitted":
    """The candidate of the sensor's last stretch, if it is anchored."""
    from pipeline.retrain import fitted

    sensor, (began_us, thinned, is_anchored) = seen.sensor, seen.stretch
    if not is_anchored:
        return fitted.Fitted(
            "/".join(sensor), fitted.WAITING, False, against=("the sensor is not anchored by its samples",)
        )
    rows = _rows(settings, features, sensor, began_us, seen.until_us, labels, thinned)
    return fitted.fit(current, sensor, rows, began_us)


def _rows(
    settings: "Settings",
    features: "FeatureSet",
    sensor: "SensorName",
    began_us: int,
    until_us: int,
    labels: "Labels",
    thinned: int,
) -> "SensorRows | None":
    from pipeline.retrain import samples, usual

    select = usual.of_stretch(sensor, began_us, until_us, labels, thinned)
    table = samples.read(settings.samples_uri, features.hash, select, usual.KEYS)
    return usual.sensor_rows(table, labels, thinned) if table.num_rows else None


def fitted_again(
    settings: "Settings", features: "FeatureSet", model: "Model", current: "Model", labels: "Labels"
) -> "Model":
    """A newly trained model with the fitted calibrations of the model in use, from the same samples."""
    from pipeline.contracts.sample_shares import NORMAL_ONE_IN
    from pipeline.retrain import fitted

    rows_of = dict[str, "SensorRows"]()
    for origin in current.fitted:
        quiet = current.document["calibration"][origin]["quiet"]
        span = quiet["from_us"], quiet["to_us"]
        rows = _rows(settings, features, _sensor(origin), *span, labels, quiet["one_in"] // NORMAL_ONE_IN)
        if rows is not None:
            rows_of[origin] = rows
    return fitted.fitted_again(model, rows_of)


def _say_fitted(document: dict[str, Any], as_json: bool) -> None:
    from pipeline.tools.sensors.lines import fitted_line

    say(f"{document['sensor']}: {fitted_line(document)}", quiet=as_json)
