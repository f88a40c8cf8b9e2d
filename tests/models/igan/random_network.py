"""Networks of random weights in any shape, as the tensors of a model's file."""

import numpy as np

from models.rows import Floats


def tensors(
    features: int,
    numeric: int,
    knots: int = 49,
    classes: int = 7,
    widths: tuple[int, int, int] = (128, 128, 64),
    seed: int = 0,
) -> dict[str, Floats]:
    """Tensors of a network whose `numeric` columns, spread over all of them, have 2 to `knots` knots each.

    Every third column is heavy-tailed; the first numeric column has two knots, where there is one.
    """
    random = np.random.default_rng(seed)
    column = np.sort(random.permutation(features)[:numeric])
    plain = np.setdiff1d(np.arange(features), column)
    count = random.integers(2, knots + 1, size=numeric)
    count[:1] = 2
    edge = [np.sort(random.choice(np.linspace(-5, 5, 1001), size=size, replace=False)) for size in count]
    wide, middle, latent = widths

    def layer(out: int, fan_in: int) -> Floats:
        values: Floats = (random.normal(size=(out, fan_in)) / np.sqrt(fan_in)).astype(np.float32)
        return values

    made = {
        "preprocess.log": np.arange(features) % 3 == 0,
        "preprocess.mean": random.normal(size=features),
        "preprocess.deviation": random.uniform(0.05, 3.0, size=features),
        "knots.column": column,
        "knots.count": count,
        "knots.edge": np.concatenate([np.empty(0), *edge]),
        "knots.plain": plain,
        "lookup.table": random.normal(size=(int(count.sum()), wide)) / np.sqrt(features),
        "lookup.row": random.normal(size=(len(plain), wide)) / np.sqrt(features),
        "lookup.bias": random.normal(size=wide),
        "middle.weight": layer(middle, wide),
        "middle.bias": random.normal(size=middle),
        "top.weight": layer(latent, middle),
        "top.bias": random.normal(size=latent),
        "last.weight": layer(classes, latent),
        "last.bias": random.normal(size=classes),
    }
    return {name: np.ascontiguousarray(value, dtype=np.float32) for name, value in made.items()}
