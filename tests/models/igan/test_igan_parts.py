from dataclasses import replace

import numpy as np
import pytest
import torch

from models.igan.class_posterior import ClassPosterior
from models.igan.config import LATER, IganConfig
from models.igan.conv import networks
from models.igan.evidence import Evidence
from models.igan.gan import synthesise, train_gan
from models.igan.imbalance import Wanted
from models.igan.prototypes import Prototypes
from models.igan.steps import Steps, numeric
from models.igan.synthetic_negatives import SyntheticNegatives

SMALL = IganConfig(
    classes=("normal", "a"), benign=1, coarse=(), latent=8, noise=4, class_embedding=4, gan_steps=3, gan_batch=16
)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_a_configuration_of_before_the_later_switches_is_still_one() -> None:
    document = IganConfig().document()
    assert not LATER & set(document)
    assert IganConfig.from_document(document) == IganConfig()
    switched = IganConfig(bins=4, gan_kind="conv", sample_filter=False)
    assert LATER & set(switched.document()) == {"bins", "gan_kind", "sample_filter"}
    assert IganConfig.from_document(switched.document()) == switched
    with pytest.raises(ValueError, match="config"):
        IganConfig.from_document({**document, "other": 1})


def test_steps_say_which_quantiles_a_number_exceeds_and_leave_flags_alone() -> None:
    z = np.column_stack([np.arange(9), np.arange(9) % 2]).astype(np.float32)
    assert numeric(z).tolist() == [True, False]
    steps = Steps.fit(z, 4)
    assert steps.edge.tolist() == [2, 4, 6]
    assert steps(torch.tensor([[5.0, 1.0]])).tolist() == [[5, 1, 1, 1, 0]]


def test_strangers_are_made_of_normal_values_and_moved_numbers() -> None:
    normal = torch.randn(50, 4, generator=seeded()).clamp(-2, 2)
    drawn = SyntheticNegatives(normal, torch.tensor([True, True, False, False]), SMALL).draw(200, seeded())
    assert drawn.shape == (200, 4) and float(drawn.abs().max()) <= SMALL.clip
    assert bool(torch.isin(drawn[:, 2:], normal[:, 2:]).all())
    assert not bool(torch.isin(drawn[:, :2], normal[:, :2]).all())


def test_a_prototype_distance_is_the_distance_to_the_nearest_centre() -> None:
    normal = torch.cat([torch.zeros(30, 3), torch.full((30, 3), 4.0)]) + 0.1 * torch.randn(60, 3, generator=seeded())
    prototypes = Prototypes.fit(normal, 8, seeded())
    z = torch.randn(20, 3, generator=seeded(1))
    assert torch.allclose(prototypes(z), torch.cdist(z, prototypes.centre).amin(dim=1), atol=1e-4)
    assert float(prototypes(normal).max()) < 1 < float(prototypes(torch.full((1, 3), 20.0)))
    assert len(Prototypes.fit(normal[:5], 8, seeded()).centre) == 5


def test_evidence_is_how_rare_among_normals_and_keeps_an_order_beyond_them() -> None:
    normal = np.tile(np.arange(100, dtype=np.float32)[:, None], (1, 4))
    score = Evidence.fit(normal, (1.0, 0.0, 0.0, 1.0)).score
    rows = np.array([[0] * 4, [50] * 4, [99] * 4, [200] * 4, [300] * 4, [50, 999, 999, 50]], dtype=np.float32)
    got = score(rows)
    assert (np.diff(got[:5]) > 0).all() and got.min() >= 0 and np.isfinite(got).all()
    assert got[5] == got[1]  # views of weight 0 do not count
    assert got[1] == pytest.approx(-np.log(50 / 101))
    one_is_sure, both_half = score(np.array([[200, 0, 0, 10], [90, 0, 0, 90]], dtype=np.float32))
    assert one_is_sure > both_half
    with pytest.raises(ValueError, match="evidence"):
        Evidence.fit(normal, (0.0, 0.0, 0.0, 0.0))


def test_names_add_up_to_classes_and_doubt_takes_normal_away() -> None:
    logits = np.array([[3.0, 1.0, 1.0, 0.0, 9.0]], dtype=np.float32)  # the last is a stranger's: not read
    log_prior = np.log(np.array([0.7, 0.1, 0.1, 0.1]))
    posterior = ClassPosterior(3, log_prior, np.array([0, 1, 1, 2]), 1.0, 0.0, 0.05)
    share = np.exp(logits[0, :4]) * np.exp(log_prior)
    expected = np.array([share[0], share[1] + share[2], share[3]]) / share.sum()
    calm = posterior.probability(logits, np.array([0.5], dtype=np.float32))
    assert np.allclose(calm, expected, atol=1e-6)
    doubted = posterior.probability(logits, np.array([0.01], dtype=np.float32))
    assert calm.argmax() == 0 and doubted.argmax() == 1 and np.isclose(doubted.sum(), 1)


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


def test_repeated_rows_are_rows_of_the_class() -> None:
    latent, y = torch.randn(20, 8, generator=seeded()), torch.arange(20) % 2
    made, _ = synthesise([Wanted(1, 30, True)], latent, y, None, torch.nn.Linear(8, 2), seeded(), kind="random")
    assert all(bool((row == latent[y == 1]).all(dim=1).any()) for row in made)


def test_a_gan_kind_nobody_knows_is_refused() -> None:
    with pytest.raises(ValueError, match="gan_kind"):
        networks(IganConfig(gan_kind="cubic"))
