import torch

from models.igan.config import IganConfig
from models.igan.imbalance import Wanted, class_filter, sample_filter, smote


def labels(*counts: int) -> torch.Tensor:
    return torch.cat([torch.full((count,), label) for label, count in enumerate(counts)])


def test_only_rare_classes_are_filled_and_very_rare_ones_without_the_gan() -> None:
    config = IganConfig(classes=("normal", "b", "c", "d", "e"), benign=1)
    wanted = class_filter(labels(10_000, 6_000, 400, 10, 1), config)
    assert wanted == [Wanted(2, 2_100, True), Wanted(3, 190, False)]


def test_smote_stays_between_neighbours() -> None:
    random = torch.Generator().manual_seed(0)
    line = torch.linspace(0, 1, 40)[:, None].repeat(1, 3)
    made = smote(line, 200, random)
    assert made.shape == (200, 3)
    assert bool((made >= 0).all() and (made <= 1).all())
    assert torch.allclose(made[:, 0], made[:, 2])
    assert float(torch.cdist(made, line).amin(dim=1).max()) < 1 / 39


def test_copies_strangers_and_the_implausible_are_dropped() -> None:
    real = torch.tensor([[float(x), float(y)] for x in range(6) for y in range(6)])  # nearest reals: 1 apart
    fake = torch.tensor([[0.1, 0.0], [9.0, 9.0], [9.0, 9.0], [9.0, 9.0]])
    mask = sample_filter(
        fake,
        fake_score=torch.tensor([1.0, -5.0, 1.0, 1.0]),
        real_score=torch.zeros(20),
        agrees=torch.tensor([True, True, False, True]),
        fit=real,
    )
    # a copy, one the discriminator does not take for real, one the classifier calls another class, and a good one
    assert mask.tolist() == [False, False, False, True]
