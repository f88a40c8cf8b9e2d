import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from models.igan.origin import calibrate_across, most_unusual
from tests.models import tiny


@given(st.lists(st.tuples(st.integers(0, 5), st.floats(0, 1, width=32)), min_size=1, max_size=40))
def test_a_flow_counts_once_by_its_most_unusual_replay(cells: list[tuple[int, float]]) -> None:
    flow = np.array([cell[0] for cell in cells])
    score = np.array([cell[1] for cell in cells], dtype=np.float32)
    expected = [max(s for f, s in cells if f == number) for number in sorted({cell[0] for cell in cells})]
    assert most_unusual(score, flow).tolist() == expected


def test_p_values_of_fresh_quiet_traffic_are_what_they_say() -> None:
    model, quiet = tiny.model(), tiny.rows(seed=5)
    quiet = quiet.take(quiet.label == "normal")
    half = len(quiet) // 2
    made = calibrate_across(model.network(), quiet.matrix[:half], quiet.end_ts_us[:half], (1, 0, 1), tiny.CONFIG)
    import torch

    from models.igan.network import fuse

    with torch.no_grad():
        views, _ = model.network().views(torch.from_numpy(quiet.matrix[half:]), made.distance)
    p = made.table.p_value(fuse(views, made.fusion)[0].numpy())
    for level in (0.05, 0.1, 0.3):
        assert (p <= level).mean() < level + 3 * np.sqrt(level / half) + 0.01
