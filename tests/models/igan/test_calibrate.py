import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from models.igan.calibrate import _folds, calibrate_across, most_unusual_rows
from models.igan.forward import Forward
from models.igan.scoring import score_rows
from tests.models import tiny


@given(st.lists(st.tuples(st.integers(0, 5), st.floats(0, 1, width=32)), min_size=1, max_size=40))
def test_a_flow_counts_once_by_its_most_unusual_replay(cells: list[tuple[int, float]]) -> None:
    flow = np.array([cell[0] for cell in cells])
    score = np.array([cell[1] for cell in cells], dtype=np.float32)
    expected = [max(s for f, s in cells if f == number) for number in sorted({cell[0] for cell in cells})]
    assert score[most_unusual_rows(score, flow)].tolist() == expected


def test_p_values_of_fresh_quiet_traffic_are_what_they_say() -> None:
    model, quiet = tiny.model(), tiny.rows(seed=5)
    quiet = quiet.take(quiet.label == "normal")
    half = len(quiet) // 2
    forward = Forward(model.arrays())
    usual_margin = model.document["usual_margin"]
    made = calibrate_across(forward, quiet.matrix[:half], quiet.end_ts_us[:half], usual_margin, model.config)
    p = score_rows(forward, made, quiet.matrix[half:]).p_value
    for level in (0.05, 0.1, 0.3):
        assert (p <= level).mean() < level + 3 * np.sqrt(level / half) + 0.01


def test_margins_that_are_high_for_ordinary_rows_are_shifted_down_where_the_network_is_a_stranger() -> None:
    model, quiet = tiny.model(), tiny.rows(seed=6)
    quiet = quiet.take(quiet.label == "normal")
    forward = Forward(model.arrays())
    usual_margin = model.document["usual_margin"]
    at_home = calibrate_across(forward, quiet.matrix, quiet.end_ts_us, usual_margin, model.config)
    elsewhere = quiet.matrix + np.float32(2.5)  # on the way to an attack
    abroad = calibrate_across(forward, elsewhere, quiet.end_ts_us, usual_margin, model.config)
    assert abroad.odds.shift > at_home.odds.shift + 1
    assert np.median(score_rows(forward, abroad, elsewhere).score) < 0.2


def test_what_a_sensor_does_in_one_part_of_the_quiet_stretch_alone_does_not_blind_it() -> None:
    """Backups at night, say: they are usual, and attacks that are neither them nor the rest must stand out."""
    model = tiny.model()
    forward = Forward(model.arrays())
    quiet = tiny.rows(seed=7, count=4000)
    quiet = quiet.take(quiet.label == "normal")
    early = np.arange(len(quiet)) < len(quiet) // 12
    elsewhere = np.array([-15, 15, 0, 0, -15, 15], np.float32)
    matrix = np.where(early[:, None], quiet.matrix + elsewhere, quiet.matrix)
    made = calibrate_across(forward, matrix, quiet.end_ts_us, model.document["usual_margin"], model.config)
    attacks = tiny.rows(seed=8)
    attacks = attacks.take(np.isin(attacks.label, ["mitm", "ssh_bruteforce"]))
    assert (score_rows(forward, made, attacks.matrix).p_value <= made.alert_level).mean() > 0.5
    assert (score_rows(forward, made, matrix).p_value <= made.alert_level).mean() < 0.05


def test_folds_are_blocks_of_equally_many_flows_in_event_time() -> None:
    end_ts_us = np.random.default_rng(0).permutation(100).astype(np.int64) ** 3  # most of them late
    fold = _folds(end_ts_us)
    assert fold[np.argsort(end_ts_us)].tolist() == [position // 4 % 5 for position in range(100)]
