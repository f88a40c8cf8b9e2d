"""What the protocols evaluate is what scores flows: the same rows have the same bits."""

import numpy as np

from models.igan.class_posterior import ClassPosterior
from models.igan.forward import Forward
from models.lab.detectors.igan_ids import FittedIgan
from models.serving.score import Scorer
from tests.score.small_model import WIDTH, small_model


def test_a_live_model_in_the_laboratory_gives_the_live_scores() -> None:
    model = small_model()
    rows = np.random.default_rng(3).exponential(2.0, (900, WIDTH)).astype(np.float32)
    names = np.arange(len(model.classes))
    posterior = ClassPosterior(len(names), np.full(len(names), 1 / len(names)), names, 1.0, 0.0, 0.0)
    for origin in model.origins:
        live = Scorer(model, "cpu").score(rows, np.zeros(900, np.int64), np.full(900, origin))
        fitted = FittedIgan(Forward(model.arrays()), model.origins[origin], posterior)
        said = fitted.predict(rows)
        assert np.array_equal(said.score.view(np.int32), live.score.view(np.int32))
        attack = live.class_index > 0
        assert attack.any() and said.probability is not None
        assert np.array_equal(said.probability.argmax(axis=1)[attack], live.class_index[attack])
