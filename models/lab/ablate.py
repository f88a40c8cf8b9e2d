"""Does synthesising rows of rare classes help? None, repeats, latent SMOTE and latent GANs on the same frozen encoders.

One encoder a seed is trained without synthetic rows; every variant trains the classifier on from there. So what differs
within a seed is the synthetic rows alone.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from models.errors import RefusedModel
from models.igan.config import IganConfig
from models.igan.forward import Forward
from models.igan.gan import synthesise
from models.igan.imbalance import class_filter
from models.igan.preprocess import Preprocess
from models.igan.views import margin, softmax
from models.lab.detectors.detector import Prediction
from models.lab.detectors.igan_ids import CONFIG, attack_names
from models.lab.protocols import iiot
from models.lab.protocols.plan import nsl_kdd_table
from models.lab.protocols.trial import Trial
from models.lab.significance import wilcoxon
from models.lab.tables.nsl_kdd import TEST, TRAIN
from models.rows import FeatureSet, Floats, Ints, Rows, held_out_blocks
from models.training.fit import Foundation, assemble, deterministic, lay_foundation, with_gan
from models.training.label_trust import believable, class_numbers
from models.training.measures.binary import auroc
from models.training.measures.multiclass import f1_by_class
from models.training.odds_choice import drawn

# By name: what of the configuration differs. Those with a GAN have one of their kind, trained on the seed's encoder.
# "longer" wants no row: its classifier is trained on like the others', so that what more epochs bring is seen apart.
VARIANTS: Mapping[str, Mapping[str, Any]] = {
    "none": {"augmentation": "none"},
    "longer": {"augmentation": "random", "augment_share": 0.0},
    "random": {"augmentation": "random"},
    "smote": {"augmentation": "smote"},
    "gan": {"augmentation": "gan"},
    "gan-unfiltered": {"augmentation": "gan", "sample_filter": False},
    "gan-conv": {"augmentation": "gan", "gan_kind": "conv"},
}
RIVALS = ("none", "longer", "random", "smote")  # a GAN is worth its place where it beats every one of them
Judge = Callable[[Floats, Floats], dict[str, Any]]
Watch = Callable[[str, float], None]
"""Called with the stage (a seed, and the means so far) and the share of the comparison that is done."""
RARE_SHARE = 0.01  # a class with a smaller share of the training rows is rare
# What every seed trains, shorter than what ships: ten seeds of four tables are to fit an hour.
SHORT: Mapping[str, Any] = {"steps": 1000, "gan_steps": 500, "classifier_epochs": 3}


@dataclass(frozen=True, slots=True)
class Case:
    """A table to compare on.

    Attributes
    ----------
    x, y : rows to learn from (n, F), their names (n,) without gaps
    log : (F,) columns to take the logarithm of
    preprocess : where the rows come prepared
    test_x : (m, F) rows to be judged on
    judge : what they score (m,) and their probabilities (m, classes) → figures; labels stay behind it
    task : (names,) the class of every name
    classes : names of the classes
    config : its classes are the names
    """

    x: Floats
    y: Ints
    log: tuple[bool, ...]
    preprocess: Preprocess | None
    test_x: Floats
    judge: Judge
    task: Ints
    classes: tuple[str, ...]
    config: IganConfig


def plant_case(rows: Rows, features: FeatureSet, config: IganConfig) -> Case:
    """Rows of a plant, judged on time blocks held out; classes are the configuration's."""
    log = tuple(feature.log for feature in features.features)
    y = class_numbers(rows, config)
    in_fit, held_out = held_out_blocks(rows.end_ts_us, config.block_us, config.hold_out_every, config.embargo_us)
    believed = believable(rows, y, log, config)
    fit, held_out = in_fit & believed, held_out & believed
    task = np.arange(len(config.classes), dtype=np.int64)
    truth = y[held_out]

    def judge(score: Floats, probability: Floats) -> dict[str, Any]:
        decided = probability.argmax(axis=1)
        present = np.unique(truth)
        return {
            "auroc": auroc(score, truth >= config.benign),
            "f1": f1_by_class(truth, decided, config.classes),
            "recall": {config.classes[each]: float((decided[truth == each] == each).mean()) for each in present},
        }

    return Case(rows.matrix[fit], y[fit], log, None, rows.matrix[held_out], judge, task, config.classes, config)


def table_case(exam: Trial, config: IganConfig, seed: int) -> Case:
    """A trial's first test; of a large table as many training rows as the choice of the odds takes."""
    prepared, training = exam.training_set()
    name, task = attack_names(training)
    rows = drawn(name, np.random.default_rng(seed))
    test = exam.tests[0]
    names = tuple(f"name {number}" for number in range(len(task)))

    def judge(score: Floats, probability: Floats) -> dict[str, Any]:
        figures = exam.judge(test, Prediction(score, probability), {})
        classes = figures["classes"]
        recall = {name: each["recall"] for name, each in classes["recall"].items() if each["n"]}
        return {"auroc": figures["ranking"]["auroc"], "f1": classes["f1"], "recall": recall}

    return Case(
        np.ascontiguousarray(training.matrix[rows]),
        name[rows],
        (False,) * training.matrix.shape[1],
        Preprocess(training.matrix.shape[1], config.clip),
        prepared.matrix(exam.unseen(test)),
        judge,
        task,
        training.classes,
        replace(config, classes=names, benign=1, coarse=()),
    )


def tables(data: Path) -> dict[str, Callable[[], Trial]]:
    """The trials of public tables by name; classes are those that their literature tells apart."""
    return {
        "nsl-kdd": lambda: Trial(
            nsl_kdd_table(data / "nsl-kdd", TRAIN), [nsl_kdd_table(data / "nsl-kdd", TEST)], "5-class"
        ),
        "rt-iot2022": lambda: _named(data, "rt-iot2022/random").as_task("attack"),
        "iot-23": lambda: _named(data, "iot-23/blocked").as_task("attack"),
    }


def unwatched(_stage: str, _share: float) -> None:
    """Nobody looks on."""


def ablate_table(name: str, data: Path, seeds: Sequence[int], watch: Watch = unwatched) -> dict[str, Any]:
    """The comparison on a public table in the folder `data`; RefusedModel where there is none of this name."""
    known = tables(data)
    if name not in known:
        raise RefusedModel(f"--table: got {name}, expected one of {', '.join(known)}")
    watch(f"reading {name}", 0.0)
    return ablate(table_case(known[name](), replace(CONFIG, **SHORT), 0), seeds, watch)


def ablate(case: Case, seeds: Sequence[int], watch: Watch = unwatched) -> dict[str, Any]:
    """Macro-F1, recall of rare classes and attack AUROC for every variant and seed, and which one the rule ships.

    The rule: synthetic rows only where they beat none, more epochs, repeats and SMOTE in macro-F1 in the mean over
    seeds and in most of the seeds; otherwise none.
    """
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in VARIANTS}
    for number, seed in enumerate(seeds):
        watch(f"seed {seed}, {number + 1} of {len(seeds)}{_so_far(runs)}", number / len(seeds))
        for name, figures in _seed_figures(case, replace(case.config, seed=seed)).items():
            runs[name].append(figures)
    means = {name: float(np.mean([run["macro_f1"] for run in of])) for name, of in runs.items()}
    return {
        "seeds": list(seeds),
        "rows": len(case.x),
        "mean_macro_f1": means,
        "mean_rare_recall": {name: _mean([run["rare_recall"] for run in of]) for name, of in runs.items()},
        "against_none": {name: _against(of, runs["none"]) for name, of in runs.items() if name != "none"},
        "ships": shipped(runs, means),
        "runs": runs,
    }


def _seed_figures(case: Case, config: IganConfig) -> dict[str, dict[str, Any]]:
    """The figures of every variant on one seed's encoder, by name."""
    random = deterministic(config)
    encoder = lay_foundation(case.x, case.y, case.log, config, random, False, preprocess=case.preprocess)
    kinds = {
        kind: with_gan(encoder, replace(config, gan_kind=kind), random)
        for kind in sorted({replace(config, **changes).gan_kind for changes in VARIANTS.values()})
    }
    of = {}
    for name, changes in VARIANTS.items():
        variant = replace(config, **changes)
        base = kinds[variant.gan_kind]
        figures = _figures(case, Forward(assemble(base, variant, deterministic(variant)).arrays()))
        if variant.augmentation == "gan" and variant.sample_filter:
            figures["filled"] = _filled(base, variant)
        of[name] = figures
    return of


def _so_far(runs: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """Macro-F1 of every variant in the mean of the seeds that are done, to be read while the others run."""
    means = [f"{name} {np.mean([run['macro_f1'] for run in of]):.3f}" for name, of in runs.items() if of]
    return f"; macro-F1 so far: {', '.join(means)}" if means else ""


def _figures(case: Case, forward: Forward) -> dict[str, Any]:
    """How well the classes of a case's test are told apart, each row having its likeliest class."""
    _, logits = forward(case.test_x)
    share = softmax(logits)
    joint = np.zeros((len(share), len(case.classes)))
    for name, number in enumerate(case.task):
        joint[:, number] += share[:, name]
    score = margin(logits, case.config.benign)
    figures = case.judge(score, joint.astype(np.float32))
    count = np.bincount(case.task[case.y], minlength=len(case.classes))
    rare = [case.classes[number] for number in np.flatnonzero((count > 0) & (count < RARE_SHARE * count.sum()))]
    recall = {name: figures["recall"][name] for name in rare if name in figures["recall"]}
    macro_f1 = float(np.mean(list(figures["f1"].values())))
    return {**figures, "macro_f1": macro_f1, "rare_recall": _mean(list(recall.values())), "recall": recall}


def _filled(base: Foundation, config: IganConfig) -> dict[str, float]:
    """Share of the rows wanted for each class that the sample filter let through."""
    wanted = class_filter(base.y, config)
    random = torch.Generator().manual_seed(config.seed)
    _, made = synthesise(wanted, base.latents.latent, base.y, base.gan, base.classify, random, base.held_out)
    return {config.classes[want.label]: float((made == want.label).sum()) / want.rows for want in wanted if want.gan}


def _against(of: list[dict[str, Any]], none: list[dict[str, Any]]) -> dict[str, Any]:
    """Macro-F1 less that without synthetic rows, seed by seed: its mean, wins, and the signed-rank test's p."""
    differences = [run["macro_f1"] - rival["macro_f1"] for run, rival in zip(of, none, strict=True)]
    wins = sum(difference > 0 for difference in differences)
    return {"mean": float(np.mean(differences)), "wins": wins, "p": wilcoxon(differences)}


def shipped(runs: Mapping[str, Sequence[Mapping[str, Any]]], means: Mapping[str, float]) -> str:
    """The variant that the rule ships."""
    for name in sorted((name for name in means if name not in ("none", "longer")), key=lambda name: -means[name]):
        rivals = [rival for rival in RIVALS if rival != name]
        wins = [
            all(run["macro_f1"] > runs[rival][at]["macro_f1"] for rival in rivals) for at, run in enumerate(runs[name])
        ]
        if all(means[name] > means[rival] for rival in rivals) and sum(wins) * 2 > len(wins):
            return name
    return "none"


def _mean(figures: Sequence[float | None]) -> float | None:
    some = [figure for figure in figures if figure is not None]
    return float(np.mean(some)) if some else None


def _named(data: Path, name: str) -> Trial:
    named = {split.name: split for split in iiot.trials(data, None)}
    if name not in named:
        raise RefusedModel(f"{data}: got no {name}, expected one of {', '.join(named) or 'the public data sets'}")
    return named[name].build(0)
