from dataclasses import replace

import numpy as np
import pytest
import torch

from models.igan.class_posterior import ClassPosterior
from models.igan.config import IganConfig
from models.igan.conv import networks
from models.igan.gan import synthesise, train_gan
from models.igan.imbalance import Wanted

SMALL = IganConfig(
    classes=("normal", "a"), benign=1, coarse=(), latent=8, noise=4, class_embedding=4, gan_steps=3, gan_batch=16
)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_a_configuration_is_retained_whole_and_others_are_refused() -> None:
    changed = IganConfig(bins=4, gan_kind="conv", sample_filter=False)
    assert IganConfig.from_document(changed.document()) == changed
    document = IganConfig().document()
    for odd in ({**document, "other": 1}, {**document, "width": "128"}, {"width": 128}):
        with pytest.raises(ValueError, match="config"):
            IganConfig.from_document(odd)


def test_names_add_up_to_classes_and_doubt_takes_normal_away() -> None:
    logits = np.array([[3.0, 1.0, 1.0, 0.0]], dtype=np.float32)
    posterior = ClassPosterior(3, np.array([0.7, 0.1, 0.1, 0.1]), np.array([0, 1, 1, 2]), 2.0, 0.0, 0.05)
    share = np.exp(logits[0] / 2)
    expected = np.array([share[0], share[1] + share[2], share[3]]) / share.sum()
    calm = posterior.probability(logits, np.array([0.5], dtype=np.float32))
    assert np.allclose(calm, expected, atol=1e-6)
    doubted = posterior.probability(logits, np.array([0.01], dtype=np.float32))
    assert calm.argmax() == 0 and doubted.argmax() == 1 and np.isclose(doubted.sum(), 1)


def test_attacks_of_a_doubted_row_are_compared_softly() -> None:
    """Name 1, of a common class, is barely ahead of names 2 and 3, of one class, in a row that looks normal."""
    logits = np.array([[9.0, 1.2, 1.0, 1.0]], dtype=np.float32)
    prior, task, doubtful = np.array([0.7, 0.1, 0.1, 0.1]), np.array([0, 1, 2, 2]), np.array([0.01], dtype=np.float32)
    hard = ClassPosterior(3, prior, task, 0.1, 0.0, 0.05).probability(logits, doubtful)
    soft = ClassPosterior(3, prior, task, 0.1, 0.0, 0.05, softness=20.0).probability(logits, doubtful)
    assert hard.argmax() == 1 and soft.argmax() == 2
    calm = np.array([0.5], dtype=np.float32)
    assert ClassPosterior(3, prior, task, 0.1, 0.0, 0.05, 20.0).probability(logits, calm).argmax() == 0
    sure = np.array([[0.0, 9.0, 1.0, 1.0]], dtype=np.float32)  # an attack already: it stays what it is
    unchanged = ClassPosterior(3, prior, task, 0.1, 0.0, 0.0).probability(sure, doubtful)
    assert np.array_equal(ClassPosterior(3, prior, task, 0.1, 0.0, 0.05, 20.0).probability(sure, doubtful), unchanged)
    lost = np.array([[0.0, -2e4, -2e4, -2e4]], dtype=np.float32)  # no attack has any share: no numbers to compare
    assert np.isfinite(ClassPosterior(3, prior, task, 0.1, 0.0, 0.05).probability(lost, doubtful)).all()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["linear", "conv"])
def test_both_kinds_of_gan_train_and_their_filter_asks_rows_they_never_saw(kind: str) -> None:
    config = replace(SMALL, gan_kind=kind)
    latent = torch.nn.functional.layer_norm(torch.randn(200, 8, generator=seeded()), (8,))
    y = torch.arange(200) % 2
    torch.manual_seed(0)
    head = torch.nn.Linear(8, 2)
    gan = train_gan(latent, y, head, config, seeded(), untrained=networks(config))
    held_out = torch.arange(200) < 40
    wanted = [Wanted(1, 50, True)]
    fake, label = synthesise(wanted, latent, y, gan, head, seeded(), held_out, "gan", filtered=False)
    assert fake.shape == (50, 8) and label.tolist() == [1] * 50
    fewer, _ = synthesise(wanted, latent, y, gan, head, seeded(), held_out)
    assert len(fewer) <= 50


def test_a_generator_makes_rows_where_the_class_lies() -> None:
    """A class far out that hardly spreads in one dimension: what is made lies there after a few steps."""
    random = seeded()
    latent, y = torch.randn(200, 8, generator=random), torch.arange(200) % 2
    latent[y == 1] = 5.0 + 0.1 * latent[y == 1]
    latent[y == 1, 0] = 7.0
    torch.manual_seed(0)
    generator, _ = train_gan(latent, y, torch.nn.Linear(8, 2), SMALL, random, untrained=networks(SMALL))
    with torch.no_grad():
        made = generator.draw(torch.ones(50, dtype=torch.int64), random)
    assert bool((made[:, 0] == 7.0).all())
    assert bool(((made[:, 1:] - 5.0).abs() < 0.5).all())


def test_repeated_rows_are_rows_of_the_class() -> None:
    latent, y = torch.randn(20, 8, generator=seeded()), torch.arange(20) % 2
    made, _ = synthesise([Wanted(1, 30, True)], latent, y, None, torch.nn.Linear(8, 2), seeded(), kind="random")
    assert all(bool((row == latent[y == 1]).all(dim=1).any()) for row in made)


def test_a_gan_kind_nobody_knows_is_refused() -> None:
    with pytest.raises(ValueError, match="gan_kind"):
        networks(IganConfig(gan_kind="cubic"))
