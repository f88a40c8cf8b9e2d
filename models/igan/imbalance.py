"""The imbalance filter: which classes get synthetic rows, how many, and which synthetic rows may stay."""

from dataclasses import dataclass

import torch
from torch import Tensor

from models.igan.config import IganConfig

NEIGHBOURS = 5


@dataclass(frozen=True, slots=True)
class Wanted:
    """Synthetic rows a class should get, and whether a GAN may make them (a rare class it would only memorise)."""

    label: int
    rows: int
    gan: bool


def class_filter(y: Tensor, config: IganConfig) -> list[Wanted]:
    """Classes below `minority_share` of the largest, raised to `augment_share` of it or `augment_factor` times."""
    counts = torch.bincount(y, minlength=len(config.classes)).tolist()
    largest = max(counts)
    wanted = []
    for label, count in enumerate(counts):
        target = min(int(config.augment_share * largest), config.augment_factor * count)
        if 2 <= count < config.minority_share * largest and target > count:
            wanted.append(Wanted(label, target - count, count >= config.gan_least_rows))
    return wanted


def smote(latent: Tensor, rows: int, random: torch.Generator) -> Tensor:
    """`rows` points between a real latent and one of its nearest neighbours in the class: (rows, latent)."""
    some = latent[torch.randperm(len(latent), generator=random)[:2000]]
    near = torch.cdist(some, some).topk(min(NEIGHBOURS + 1, len(some)), largest=False).indices[:, 1:]
    first = torch.randint(len(some), (rows,), generator=random)
    second = near[first, torch.randint(near.shape[1], (rows,), generator=random)]
    share = torch.rand((rows, 1), generator=random)
    return some[first] + share * (some[second] - some[first])


def sample_filter(fake: Tensor, fake_score: Tensor, real_score: Tensor, agrees: Tensor, fit: Tensor) -> Tensor:
    """Mask (n,) of the fakes worth keeping.

    Parameters
    ----------
    fake : (n, latent); fake_score : (n,) the discriminator's view of them
    real_score : (m,) its view of held-out real rows of the class
    agrees : (n,) whether the classifier gives the class asked for
    fit : (k, latent) real rows the generator learnt from; nearer to one than reals are to each other is a copy
    """
    some = fit[:2000]
    among_real = torch.cdist(some, some).fill_diagonal_(float("inf")).amin(dim=1)
    copy_distance = torch.quantile(among_real, 0.01)
    nearest = torch.cdist(fake, some).amin(dim=1)
    plausible = fake_score >= torch.quantile(real_score, 0.05)
    return plausible & agrees & (nearest > copy_distance)
