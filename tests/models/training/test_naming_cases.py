import numpy as np

from models.igan.config import IganConfig
from models.rows import Floats, Mask, Rows
from models.training.known_fit import KNOWN, figures, fit_known_classes
from models.training.naming_cases import Namer, naming_cases, trials

CONFIG = IganConfig(classes=("normal", "login", "scan", "flood", "mistake"), coarse=("mistake",))
CENTRE = np.array([0.0, 3.0, 12.0, 17.0, 24.0])
NUMBERS = (600, 20, 120, 120, 30)


def plant(sensors: tuple[str, ...] = ("a", "b")) -> Rows:
    """Every class a cloud of its own, the same on every sensor; every fourth row is of a replay."""
    source = np.random.default_rng(0)
    y = np.concatenate([np.repeat(np.arange(5), NUMBERS) for _ in sensors])
    count = len(y)
    return Rows(
        source.normal(CENTRE[y][:, None], 1.0, (count, 6)).astype(np.float32),
        np.array(CONFIG.classes)[y],
        np.full(count, "plant"),
        np.repeat(sensors, sum(NUMBERS)),
        np.arange(count),
        np.arange(count),
        np.arange(count),
        (np.arange(count) % 4 == 0).astype(np.int64),
    )


def nearest_centre(classes: list[int]) -> Namer:
    """Names by the nearest centre among the classes that were learnt."""

    def namer(x: Floats) -> tuple[Floats, Floats]:
        away = np.abs(x.mean(axis=1)[:, None] - CENTRE)
        chance = np.where(np.isin(np.arange(5), classes), np.exp(-away), 0.0)
        return x, (chance / chance.sum(axis=1, keepdims=True)).astype(np.float32)

    return namer


def test_each_family_and_each_sensor_is_left_out_once() -> None:
    rows = plant()
    y = np.array([CONFIG.classes.index(name) for name in rows.label])
    fit = np.arange(len(rows)) % 3 > 0
    learnt: dict[str, Mask] = {}

    def trial(name: str, mask: Mask) -> Namer:
        learnt[name] = mask
        return nearest_centre(np.unique(y[mask]).tolist())

    cases = naming_cases(rows, y, fit, ~fit, CONFIG, nearest_centre([0, 1, 2, 3, 4]), trial)
    assert sorted(cases) == ["family flood", "family scan", KNOWN, "sensor plant/a", "sensor plant/b"]
    assert len(learnt) == trials(rows, y, fit, CONFIG) == 4
    assert not (learnt["without scan"] & (y == 2)).any() and (learnt["without scan"] & (y == 3)).any()
    assert not (learnt["without plant/a"] & (rows.origin == "plant/a")).any()
    assert not any((mask & ~fit).any() for mask in learnt.values())
    assert set(cases["family scan"].learnt_y.tolist()) == {3, 4}
    assert (cases["family scan"].truth == 2).sum() == 240
    assert len(cases["sensor plant/a"].z) == (rows.replay[rows.origin == "plant/a"] == 0).sum()
    assert (cases[KNOWN].learnt_y >= CONFIG.benign).all()

    known = fit_known_classes(cases, 5, CONFIG.benign)
    shares = figures(known, cases, CONFIG.benign)
    assert shares["family scan"]["wrong_before"] > 0.4
    assert all(share["wrong"] <= 0.02 for share in shares.values())
    assert shares[KNOWN]["right"] > 0.9


def test_with_one_family_and_one_sensor_only_held_out_time_is_left() -> None:
    rows = plant(("a",))
    rows = rows.take(rows.label != "flood")
    y = np.array([CONFIG.classes.index(name) for name in rows.label])
    fit = np.arange(len(rows)) % 3 > 0

    def trial(name: str, mask: Mask) -> Namer:
        raise AssertionError(name)

    assert list(naming_cases(rows, y, fit, ~fit, CONFIG, nearest_centre([0, 1, 2, 4]), trial)) == [KNOWN]
