"""Does synthesising rows of rare classes help? None, latent SMOTE and the latent GAN on the same frozen encoders."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from models.igan.config import AUGMENTATIONS, IganConfig
from models.igan.forward import Forward
from models.igan.gan import synthesise
from models.igan.imbalance import class_filter
from models.igan.views import margin
from models.rows import FeatureSet, Rows, held_out_blocks
from models.training.fit import Foundation, assemble, deterministic, lay_foundation
from models.training.label_trust import believable, class_numbers
from models.training.measures.binary import auroc
from models.training.measures.multiclass import f1_by_class


def ablate(rows: Rows, features: FeatureSet, config: IganConfig, seeds: Sequence[int]) -> dict[str, Any]:
    """Macro-F1 and attack AUROC on held-out time for every augmentation and seed, and which one the rule ships.

    The rule: synthetic rows only where they beat both no rows and SMOTE in macro-F1 in the mean over seeds and in most
    of the seeds; otherwise none.
    """
    log = tuple(feature.log for feature in features.features)
    y = class_numbers(rows, config)
    in_fit, held_out = held_out_blocks(rows.end_ts_us, config.block_us, config.hold_out_every, config.embargo_us)
    believed = believable(rows, y, log, config)
    fit, held_out = in_fit & believed, held_out & believed
    truth, x = y[held_out], rows.matrix[held_out]
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in AUGMENTATIONS}
    for seed in seeds:
        random = deterministic(replace(config, seed=seed))
        base = lay_foundation(rows.matrix[fit], y[fit], log, config, random, with_gan=True)
        for name in AUGMENTATIONS:
            variant = replace(config, augmentation=name, seed=seed)
            random = deterministic(variant)
            network = assemble(base, variant, random)
            _, logits = Forward(network.arrays())(x)
            f1 = f1_by_class(truth, logits.argmax(axis=1), config.classes)
            figures = {
                "macro_f1": float(np.mean(list(f1.values()))),
                "attack_auroc": auroc(margin(logits, config.benign), truth >= config.benign),
                "f1": f1,
            }
            if name == "gan":
                figures["filled"] = _filled(base, config)
            runs[name].append(figures)
    means = {name: float(np.mean([run["macro_f1"] for run in of])) for name, of in runs.items()}
    return {"seeds": list(seeds), "mean_macro_f1": means, "ships": _shipped(runs, means), "runs": runs}


def _filled(base: Foundation, config: IganConfig) -> dict[str, float]:
    """Share of the rows wanted for each class that the sample filter let through."""
    wanted = class_filter(base.y, config)
    _, made = synthesise(
        wanted, base.latents.latent, base.y, base.gan, base.classify, torch.Generator().manual_seed(config.seed)
    )
    return {config.classes[want.label]: float((made == want.label).sum()) / want.rows for want in wanted if want.gan}


def _shipped(runs: dict[str, list[dict[str, Any]]], means: dict[str, float]) -> str:
    """The augmentation that the rule ships."""
    for name in ("gan", "smote"):
        rivals = [other for other in AUGMENTATIONS if other != name]
        wins = [
            all(run["macro_f1"] > runs[other][at]["macro_f1"] for other in rivals) for at, run in enumerate(runs[name])
        ]
        if all(means[name] > means[other] for other in rivals) and sum(wins) * 2 > len(wins):
            return name
    return "none"
