"""Documents as the protocols store them, of made-up fits: shapes and figures are computed by the real measures."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from models.lab.protocols.store import RUN, Store, written
from models.training.measures import binary, multiclass

NAMES = {
    "igan-ids": "IGAN-IDS",
    "lightgbm": "LightGBM",
    "xgboost": "XGBoost",
    "random-forest": "Random forest",
    "decision-tree": "Decision tree",
    "svm": "Kernel SVM",
    "linear-svm": "Linear SVM",
    "logistic-regression": "Logistic regression",
    "knn": "k-nearest neighbours",
    "dnn": "DNN",
    "cnn": "CNN",
    "lstm": "LSTM",
    "gru": "GRU",
    "autoencoder": "Deep autoencoder",
    "rbm": "RBM + logistic regression",
    "dbn": "Deep belief network",
    "dbm": "Deep Boltzmann machine",
    "gan": "Plain GAN discriminator",
    "knn-distance": "Distance to 5 nearest normals",
    "mahalanobis": "Mahalanobis distance",
    "cgan": "Conditional-GAN oversampling",
    "smote": "SMOTE + LightGBM",
    "oversampling": "Random oversampling",
    "extra-trees": "Extra trees",
    "isolation-forest": "Isolation forest",
}
REDUCED = {"svm": "fitted to 20,000 records", "dbm": "1 run of 10 folds, 20,000 records"}
CLASSES = ("normal", "dos", "probe", "r2l", "u2r")
TESTS = ("KDDTest+", "KDDTest-21")
DATE = "2026-01-02"


def document(
    protocol: str,
    model: str,
    split: str,
    seed: int,
    task: str = "binary",
    tests: tuple[str, ...] = ("fold",),
    rows: int = 600,
    calibrated: bool = True,
    more: bool = False,
) -> dict[str, Any]:
    """One fit; models differ by a fixed skill, fits by the seed and split."""
    rank = list(NAMES).index(model) if model in NAMES else 3
    figures = {}
    for number, test in enumerate(tests):
        random = np.random.default_rng([rank, seed, len(split), number, sum(split.encode())])
        scorer = model in ("autoencoder", "knn-distance", "mahalanobis", "isolation-forest")
        figures[test] = _figures(random, 3.2 - 0.09 * rank, rows, task, calibrated or scorer, scorer)
        if more:
            figures[test]["more"] = _more(random)
    return {
        "protocol": protocol,
        "model": model,
        "title": NAMES.get(model, model),
        "split": split,
        "seed": seed,
        "task": task,
        "candidate": 0,
        "reduction": REDUCED.get(model, ""),
        "rows": {"train": 9 * rows, "tests": dict.fromkeys(tests, rows)},
        "seconds": {"tune": 0.0, "fit": 1.0, "out_of_fold": 0.0, "score": dict.fromkeys(tests, 0.1)},
        "size": {"parameters": 1000, "stored_bytes": 4000},
        "nominal": [0.001, 0.01, 0.05],
        "tests": figures,
        "about": {"cpu": "some"},
    }


def _figures(
    random: np.random.Generator, skill: float, rows: int, task: str, calibrated: bool, scorer: bool
) -> dict[str, Any]:
    truth = random.choice(5, rows, p=[0.5, 0.25, 0.13, 0.1, 0.02])
    attack = truth != 0
    novel = attack & (random.random(rows) < 0.25)
    score = random.normal(0, 1, rows) + skill * attack * np.where(novel, 0.7, 1.0)
    thresholds = {0.001: 3.1, 0.01: 2.3, 0.05: 1.6} if calibrated and task == "binary" else {}
    figures: dict[str, Any] = {
        "ranking": binary.ranking(score, attack),
        "at": {f"{rate:g}": binary.at_threshold(score, attack, each) for rate, each in thresholds.items()},
        "novel": binary.seen_and_novel(score, attack, novel, thresholds),
        "decision": binary.at_threshold(score, attack, 2.3) if thresholds else None,
    }
    if not scorer:
        classes = CLASSES if task != "binary" else ("normal", "attack")
        said = truth if task != "binary" else attack.astype(np.int64)
        logits = random.normal(0, 1, (rows, len(classes)))
        logits[np.arange(rows), said] += skill
        probability = np.exp(1.6 * logits)
        probability /= probability.sum(axis=1, keepdims=True)
        figures["classes"] = multiclass.figures(said.astype(np.int64), probability, classes, attack)
        figures["decision"] = figures["classes"]["binary"]
    return figures


def _more(random: np.random.Generator) -> dict[str, Any]:
    events = [
        {
            "event": f"E{number}",
            "kind": "attack" if number % 3 else "fault",
            "start_us": number,
            "records": number % 4,
            "found": (detected := bool(random.random() < 0.8)),
            "delay_s": float(random.exponential(2)) if detected else None,
        }
        for number in range(12)
    ]
    return {"nominal": 0.01, "events": events, "false_alarms_per_day": 412.5, "days": 0.03}


def store(folder: Path, documents: list[dict[str, Any]], expected: dict[str, dict[str, int]] | None = None) -> Path:
    """Store documents as a run does, with a run.json."""
    fits = Store(folder)
    for each in documents:
        fits.write(f"{each['protocol']}/{each['model']}/{each['split']}-seed{each['seed']}-{each['task']}", each)
    run = {
        "protocol": documents[0]["protocol"],
        "command": f"forebay model evaluate --protocol {documents[0]['protocol']} --data data --out out",
        "date": DATE,
        "machine": "2 cores, some processor",
        "options": {},
        **({"expected": expected} if expected else {}),
    }
    written(folder / RUN, run)
    return folder


def nsl_kdd_cv(models: tuple[str, ...] = tuple(NAMES), runs: int = 2, folds: int = 4) -> list[dict[str, Any]]:
    """Folds of runs; reduced models have one run."""
    return [
        document("nsl-kdd-cv", model, f"run{run:02d}-fold{fold:02d}", run, calibrated=False)
        for model in models
        for run in range(1 if model in REDUCED else runs)
        for fold in range(folds)
    ]


def nsl_kdd_test(models: tuple[str, ...] = tuple(NAMES), seeds: int = 5) -> list[dict[str, Any]]:
    """Both tasks over seeds."""
    return [
        document("nsl-kdd-test", model, "train-test", seed, task, TESTS, calibrated=task == "binary")
        for model in models
        for seed in range(seeds)
        for task in ("binary", "5-class")
    ]


def unknowns(models: tuple[str, ...] = tuple(NAMES), seeds: int = 2) -> list[dict[str, Any]]:
    """A family left out at a time."""
    return [
        document("unknowns", model, f"without-{family}", seed, tests=(f"without-{family}",), calibrated=False)
        for model in models
        for seed in range(seeds)
        for family in CLASSES[1:]
    ]


def iiot(models: tuple[str, ...] = tuple(NAMES), seeds: int = 2) -> list[dict[str, Any]]:
    """Two sets under their splits, one of them with events."""
    splits = {
        "westermo/time": ("westermo/time/left", "westermo/time/bottom", "westermo/time/all"),
        "westermo/left-to-bottom": ("westermo/left-to-bottom", "westermo/left-to-left"),
        "westermo/random": ("westermo/random",),
        "rt-iot2022/random": ("rt-iot2022/random",),
    }
    return [
        document("iiot", model, split, seed, tests=tests, more=split.startswith("westermo/time"))
        for model in models
        for split, tests in splits.items()
        for seed in range(seeds)
    ]


def table(models: tuple[str, ...] = tuple(NAMES)) -> list[dict[str, Any]]:
    """A reviewer's table with names nobody chose for us."""
    return [
        document("table", model, "train-test", seed, task, ("my | table <b>$x$",))
        for model in models
        for seed in range(2)
        for task in ("binary", "attack")
    ]


def controls() -> list[dict[str, Any]]:
    """Controls and ablations."""
    made = [
        document("controls", model, "control", seed, tests=("KDDTest+",), calibrated=False)
        for model in ("majority", "stump", "shuffled-labels")
        for seed in range(3)
    ]
    for each in made:
        each["tests"]["KDDTest+"]["ranking"]["auroc"] = {"majority": 0.5, "stump": 0.8}.get(each["model"], 0.9)
    made += [
        document("controls", "lightgbm", split, 0, tests=tests, calibrated=False)
        for split, tests in {
            "identifiers-only/nsl-kdd": ("KDDTest+",),
            "identifiers-only/westermo/time": ("westermo/time/left", "westermo/time/all"),
        }.items()
    ]
    return made + [
        document("controls", model, "ablation", seed, task, ("KDDTest+",), calibrated=False)
        for model in ("igan-no-augmentation", "igan-smote", "igan-gan")
        for seed in range(3)
        for task in ("binary", "5-class")
    ]


def cost(models: tuple[str, ...] = tuple(NAMES)) -> list[dict[str, Any]]:
    """One document per model."""
    return [
        {
            "protocol": "cost",
            "model": model,
            "title": NAMES[model],
            "reduction": REDUCED.get(model, ""),
            "split": "cost",
            "seed": 0,
            "task": "binary",
            "train_seconds": 3.0 * index + 0.2,
            "parameters": None if index % 3 == 0 else 107_000 // index,
            "stored_bytes": 40_000 * (index + 1),
            "rows_per_second": {
                "cpu": {
                    str(b): 9e5 / (1 + 0.4 * index) * b / (b + 300 + 10 * index) for b in (1, 64, 1024, 4096, 16384)
                }
            },
        }
        for index, model in enumerate(models)
    ]


EVERY: dict[str, Callable[..., list[dict[str, Any]]]] = {
    "nsl-kdd-cv": nsl_kdd_cv,
    "nsl-kdd-test": nsl_kdd_test,
    "unknowns": unknowns,
    "iiot": iiot,
    "table": table,
    "controls": controls,
    "cost": cost,
}
