from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models.errors import RefusedModel
from models.lab import ablate
from models.lab.protocols.trial import Trial
from tests.models import tiny
from tests.models.lab.protocols import small


def test_variants_are_compared_on_the_same_encoders_of_a_plant() -> None:
    report = ablate.ablate(ablate.plant_case(tiny.rows(), tiny.FEATURES, tiny.CONFIG), [1])
    assert set(report["runs"]) == set(ablate.VARIANTS) == set(report["mean_macro_f1"])
    assert report["ships"] in report["runs"]
    watched = list[tuple[str, float]]()
    again = ablate.ablate(
        ablate.plant_case(tiny.rows(), tiny.FEATURES, tiny.CONFIG), [1, 2], lambda *stage: watched.append(stage)
    )
    assert again["runs"]["gan"][0] == report["runs"]["gan"][0]
    (first, _), (second, done) = watched
    assert first == "seed 1, 1 of 2" and done == 0.5
    assert second.startswith(f"seed 2, 2 of 2; macro-F1 so far: none {report['mean_macro_f1']['none']:.3f}, longer ")


def test_a_table_is_compared_by_the_classes_of_its_task() -> None:
    exam = Trial(small.table(600), [small.table(200, seed=1, name="later", first=600)], "5-class")
    case = ablate.table_case(exam, replace(tiny.CONFIG, steps=60), 0)
    assert case.classes == ("normal", "dos", "probe") and case.task.tolist() == [0, 1, 2]
    assert case.config.benign == 1 and case.config.coarse == ()
    (run,) = ablate.ablate(case, [3])["runs"]["none"]
    assert set(run["f1"]) == {"normal", "dos", "probe"} and run["macro_f1"] > 0.3


def test_only_rare_classes_have_a_recall_of_their_own() -> None:
    exam = Trial(small.table(600), [small.table(200, seed=1)], "5-class")
    case = ablate.table_case(exam, replace(tiny.CONFIG, steps=10), 0)
    keep = np.flatnonzero(case.y != 1)
    few = np.concatenate([keep, np.flatnonzero(case.y == 1)[:4]])  # below 1 % of the rows
    case = replace(case, x=case.x[few], y=case.y[few])
    (run,) = ablate.ablate(case, [0])["runs"]["random"]
    assert set(run["recall"]) == {"dos"} and run["rare_recall"] == run["recall"]["dos"]


def run(*macro_f1: float) -> list[dict[str, float]]:
    return [{"macro_f1": each} for each in macro_f1]


@pytest.mark.parametrize(
    ("gan", "ships"),
    [
        (run(0.8, 0.8, 0.5), "gan"),  # ahead of all in two seeds of three, and in the mean
        (run(0.8, 0.5, 0.5), "none"),  # in one seed alone
        (run(0.61, 0.61, 0.1), "none"),  # in most seeds, not in the mean
    ],
)
def test_a_gan_ships_where_it_beats_every_rival_in_the_mean_and_in_most_seeds(
    gan: list[dict[str, float]], ships: str
) -> None:
    rivals = {
        "none": run(0.6, 0.6, 0.6),
        "longer": run(0.6, 0.6, 0.6),
        "random": run(0.5, 0.5, 0.5),
        "smote": run(0.55, 0.55, 0.55),
    }
    runs = {**rivals, "gan": gan}
    means = {name: float(np.mean([each["macro_f1"] for each in of])) for name, of in runs.items()}
    assert ablate.shipped(runs, means) == ships


def test_a_table_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RefusedModel, match="--table: got iris, expected one of nsl-kdd"):
        ablate.ablate_table("iris", tmp_path, [0])
    with pytest.raises(RefusedModel, match="rt-iot2022/random"):
        ablate.ablate_table("rt-iot2022", tmp_path, [0])
