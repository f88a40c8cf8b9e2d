"""Training, from labelled rows to a model, in these steps:

split in time → believe labels → choose the odds → fit → temperature → calibrate per origin → manifest.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from models.errors import RefusedModel
from models.igan.calibrate import LEAST_ROWS, calibrate, usual_margin_of
from models.igan.config import IganConfig
from models.igan.forward import Forward
from models.igan.origin import Origin
from models.igan.preprocess import Preprocess
from models.igan.views import margin, softmax, z_and_margin
from models.rows import FeatureSet, Floats, Ints, Mask, Rows, Strings, held_out_blocks
from models.serving.device import resolved
from models.serving.model import POOLED, Model, finish, tensors_of
from models.training.checkpoint import training_key
from models.training.fit import cpu_type, deterministic, fit_network, temperature_of, trial_config
from models.training.known_fit import NamedRows, fit_known_classes
from models.training.known_fit import figures as figures_of_names
from models.training.label_trust import believable, class_numbers, quiet
from models.training.measures.multiclass import expected_calibration_error, f1_by_class
from models.training.naming_cases import Namer, naming_cases, trials
from models.training.odds_choice import FOLDS, OddsChoice, choose_odds
from models.training.stages import Stages, cost
from models.training.teacher import teacher_of
from schemas import model_manifest as manifest

TRIAL_COST = 0.5  # of the main network's


def train(
    rows: Rows,
    features: FeatureSet,
    config: IganConfig,
    data: Sequence[Mapping[str, Any]] = (),
    command: str = "",
    parent: str | None = None,
    stages: Stages | None = None,
    device: str = "cpu",
    counts: Ints | None = None,
) -> Model:
    """Train a model on labelled rows.

    Parameters
    ----------
    rows : labelled rows, several sensors and replays together
    features : what the columns are
    data : names and SHA-256 of the files the rows came from, for the manifest
    command : what was run, for the manifest
    parent : id of the model this one is to follow
    stages : reports and stores the stages; by default neither
    device : where networks are fitted, `auto`, `cpu` or `cuda`; the rest is done on the CPU
    counts : (n,) how often each row counts where the network is fitted, once by default; all else counts rows once

    Raises RefusedModel where there are too few quiet rows, or no attack, to learn from. The same rows, configuration,
    CPU type and torch give the same bytes, also where the training was interrupted and resumed.
    """
    stages = stages or Stages()
    device = resolved(device)
    random = deterministic(config, device)
    log = tuple(feature.log for feature in features.features)
    _validate_rows(rows, features, config)
    y = class_numbers(rows, config)
    normal = quiet(rows, y, config)
    in_fit, held_out = held_out_blocks(rows.end_ts_us, config.block_us, config.hold_out_every, config.embargo_us)
    _require_enough_rows(normal & in_fit, normal & held_out, y, config)
    believed = believable(rows, y, log, config)
    fit = in_fit & believed

    stages.expect(cost(config.augmentation) + (FOLDS + trials(rows, y, fit, config)) * TRIAL_COST * cost("none"))
    choice = choose_on_rows(rows.matrix[fit], y[fit], log, config, stages, device)
    config = choice.applied(config)
    fitted_to = np.repeat(np.flatnonzero(fit), 1 if counts is None else counts[fit])
    network = fit_network(
        rows.matrix[fitted_to], y[fitted_to], log, config, random, stages, teacher_of=teacher_of(config)
    )
    forward = Forward(network.arrays())
    temperature = temperature_of(forward, rows.matrix[held_out & believed], y[held_out & believed])
    figures = _held_out_figures(forward, rows, y, held_out & believed, temperature, config)
    cases = _names_given(forward, network.preprocess, temperature, rows, y, fit, held_out & believed, config, stages)
    known = fit_known_classes(cases, len(config.classes), config.benign)
    # What is usual includes harmless logins; what the p-values are ranked among is quiet traffic alone.
    usual = normal | ((y > 0) & (y < config.benign))
    stages.enter("calibration")
    origins = calibrate_origins(forward, rows, usual & in_fit, normal & held_out, config)
    usual_margin = usual_margin_of(margin(forward(rows.matrix[normal & held_out])[1], config.benign))
    document = {
        **_circumstances(features, config, data, command, parent, device),
        "usual_margin": usual_margin,
        "temperature": temperature,
        "calibration": {key: origin.document() for key, origin in origins.items()},
        "known": known.document(config.classes),
        "baseline": _usual_range(rows.matrix[normal]),
        "metrics": {
            "held_out": figures,
            "odds": choice.document(),
            "names": figures_of_names(known, cases, config.benign),
            "rows": {"fit": _counts(rows.label[fit]), "held_out": _counts(rows.label[held_out])},
        },
    }
    return finish(document, tensors_of(network.tensors(), origins, known))


def key_of(
    rows: Rows,
    features: FeatureSet,
    config: IganConfig,
    data: Sequence[Mapping[str, Any]] = (),
    parent: str | None = None,
    device: str = "cpu",
) -> str:
    """Names a training by everything its bytes depend on: a checkpoint with another key is of another training."""
    facts = {
        "features": features.hash,
        "config": config.document(),
        "data": [dict(entry) for entry in data],
        "parent": parent,
        "device": resolved(device),
        "torch": torch.__version__,
        "cpu": cpu_type(),
    }
    arrays = (rows.matrix, rows.label, rows.origin, rows.end_ts_us, rows.start_ts_us, rows.source_record, rows.replay)
    return training_key(facts, arrays)


def choose_on_rows(
    matrix: Floats, y: Ints, log: tuple[bool, ...], config: IganConfig, stages: Stages, device: str
) -> OddsChoice:
    """The odds' constants, chosen on rows (n, F) with classes (n,): each attack class is a family of its own."""
    preprocess = Preprocess.fit(matrix, log, config.clip)
    family = np.where(y < config.benign, 0, y - config.benign + 1)

    def fit(some: Floats, names: Ints, number: int) -> Callable[[Floats], tuple[Floats, Floats]]:
        present, dense = np.unique(names, return_inverse=True)
        trial = trial_config(config, len(present))
        random = torch.Generator(device).manual_seed(config.seed)
        part = stages.within(f"fold {number + 1}", TRIAL_COST)
        network = fit_network(some, dense.astype(np.int64), log, trial, random, part, preprocess)
        forward = Forward(network.arrays())
        return lambda records: z_and_margin(forward, records, trial.benign)

    # Prototypes cost more than the network; a plant's distance is fitted anew for every sensor, which matters more.
    return choose_odds(matrix, family, family, fit, config, (config.view,))


def _names_given(
    forward: Forward,
    preprocess: Preprocess,
    temperature: float,
    rows: Rows,
    y: Ints,
    fit: Mask,
    held_out: Mask,
    config: IganConfig,
    stages: Stages,
) -> dict[str, NamedRows]:
    """What the model, and trial networks without a family or a sensor, call rows they were not fitted to."""
    log = (False,) * rows.matrix.shape[1]  # the preprocessing that is given has its own

    def namer(of: Forward, chosen: Ints) -> Namer:
        def named(some: Floats) -> tuple[Floats, Floats]:
            z, logits = of(some)
            probability = np.zeros((len(some), len(config.classes)), dtype=np.float32)
            probability[:, chosen] = softmax(logits / np.float32(temperature))
            return z, probability

        return named

    def trial(name: str, some: Mask) -> Namer:
        present, dense = np.unique(y[some], return_inverse=True)
        random = torch.Generator().manual_seed(config.seed)
        part, short = stages.within(name, TRIAL_COST), trial_config(config, len(present))
        network = fit_network(rows.matrix[some], dense.astype(np.int64), log, short, random, part, preprocess)
        return namer(Forward(network.arrays()), present)

    whole = namer(forward, np.arange(len(config.classes)))
    return naming_cases(rows, y, fit, held_out, config, whole, trial)


def calibrate_origins(forward: Forward, rows: Rows, fit: Mask, held_out: Mask, config: IganConfig) -> dict[str, Origin]:
    """A calibration for all rows pooled, for every site, and for every sensor with enough quiet rows."""
    keys: dict[str, Mask] = {POOLED: np.ones(len(rows), dtype=np.bool_)}
    keys |= {str(site): rows.site == site for site in np.unique(rows.site)}
    keys |= {str(origin): rows.origin == origin for origin in np.unique(rows.origin)}
    # One number a flow: a record's position in its file, and whose file it is.
    flow = rows.source_record * 1024 + np.unique(rows.origin, return_inverse=True)[1]
    return {
        key: calibrate(
            forward, rows.matrix[members & fit], rows.matrix[members & held_out], flow[members & held_out], config
        )
        for key, members in keys.items()
        if min(int((members & fit).sum()), int((members & held_out).sum())) >= LEAST_ROWS
    }


def _held_out_figures(
    forward: Forward, rows: Rows, y: Ints, held_out: Mask, temperature: float, config: IganConfig
) -> dict[str, Any]:
    """Figures of the classifier on held-out rows."""
    truth = y[held_out]
    probability = softmax(forward(rows.matrix[held_out])[1] / np.float32(temperature))
    confidence, predicted = probability.max(axis=1), probability.argmax(axis=1)
    f1 = f1_by_class(truth, predicted, config.classes)
    return {
        "macro_f1": float(np.mean(list(f1.values()))),
        "f1": f1,
        "expected_calibration_error": expected_calibration_error(confidence, predicted == truth),
    }


def _validate_rows(rows: Rows, features: FeatureSet, config: IganConfig) -> None:
    """RefusedModel where the rows have other columns than the features, numbers that are none, or unknown labels."""
    width = len(features.features)
    if rows.matrix.ndim != 2 or rows.matrix.shape[1] != width:
        raise RefusedModel(
            f"training rows: got a matrix of {rows.matrix.shape}, expected the {width} columns of {features.name} "
            f"{features.hash[:12]}; featurize the files with this release"
        )
    odd: Mask = ~np.isfinite(rows.matrix)
    if odd.any():
        names = [features.names[column] for column in np.unique(np.nonzero(odd)[1])]
        raise RefusedModel(
            f"training rows: got {int(odd.any(axis=1).sum())} of {len(rows)} rows with values that are no finite "
            f"numbers, in {', '.join(names[:5])}; expected finite ones; featurize the files again"
        )
    unknown = sorted(set(np.unique(rows.label).tolist()) - set(config.classes))
    if unknown:
        raise RefusedModel(
            f"training rows: got label {', '.join(unknown[:5])[:200]}, expected {', '.join(config.classes)}; "
            "correct the labels, or add the class to the configuration"
        )


def _require_enough_rows(fit: Mask, held_out: Mask, y: Ints, config: IganConfig) -> None:
    if min(int(fit.sum()), int(held_out.sum())) < LEAST_ROWS or not bool((y >= config.benign).any()):
        raise RefusedModel(
            f"training rows: got {int(fit.sum())} quiet rows to fit and {int(held_out.sum())} to calibrate on, and "
            f"{int((y >= config.benign).sum())} attacks; expected at least {LEAST_ROWS} of each and one attack; "
            "give longer captures or their labels"
        )


def _circumstances(
    features: FeatureSet,
    config: IganConfig,
    data: Sequence[Mapping[str, Any]],
    command: str,
    parent: str | None,
    device: str,
) -> dict[str, Any]:
    """What the manifest says of a training before anything is learnt: columns, configuration, data, machine."""
    return {
        "version": manifest.VERSION,
        "feature_set": features.name,
        "feature_hash": features.hash,
        "features": [
            {"name": column.name, "label": column.label, "unit": column.unit, "group": column.group, "log": column.log}
            for column in features.features
        ],
        "classes": list(config.classes),
        "alert_level": config.alert_level,
        "data": [dict(entry) for entry in data],
        "training": {
            "command": command,
            "torch": torch.__version__,
            "cpu": cpu_type(),
            **({} if device == "cpu" else {"device": device}),
        },
        "config": config.document(),
        "parent": parent,
    }


def _usual_range(matrix: Floats) -> dict[str, list[float]]:
    """Quantiles of normal rows (n, F), column by column."""
    low, middle, high = np.quantile(matrix, [0.01, 0.5, 0.99], axis=0)
    return {"q01": _plain(low), "q50": _plain(middle), "q99": _plain(high)}


def _plain(values: Floats) -> list[float]:
    return [float(np.float32(value)) for value in values]


def _counts(label: Strings) -> dict[str, int]:
    names, counts = np.unique(label, return_counts=True)
    return {str(name): int(count) for name, count in zip(names, counts, strict=True)}
