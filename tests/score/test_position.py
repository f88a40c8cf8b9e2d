import pytest

from pipeline.errors import RefusedState, SequenceGap
from pipeline.score.position import StagePosition


def test_a_position_survives_its_metadata() -> None:
    position = StagePosition(17, 12, 1_678_443_574_078_823)
    assert StagePosition.committed(17, position.metadata(), "features[0]") == position
    assert len(position.metadata()) < 64


@pytest.mark.parametrize("metadata", [None, "", "{}", "[]", "x", '{"seq": "a", "until": 1}'])
def test_offsets_set_by_another_tool_are_refused(metadata: str | None) -> None:
    with pytest.raises(RefusedState, match=r"features\[0\]"):
        StagePosition.committed(3, metadata, "features[0]")


def test_lower_seq_is_dropped_and_a_gap_stops() -> None:
    position = StagePosition(10, 5)
    assert position.accepts(10, 5, "f[0]")
    assert position.accepts(14, 5, "f[0]")  # offsets have holes
    assert not position.accepts(11, 4, "f[0]")  # emitted again
    assert not position.accepts(9, 5, "f[0]")  # read again
    with pytest.raises(SequenceGap, match=r"f\[0\]@10: got seq 6, expected 5"):
        position.accepts(10, 6, "f[0]")


def test_a_position_advances() -> None:
    position = StagePosition(10, 5, 100).advanced(10, 5, 90)
    assert position == StagePosition(11, 6, 100)
    assert position.advanced(12, 6, 130) == StagePosition(13, 7, 130)
    assert position.skipped(20) == StagePosition(21, 6, 100)
    assert position.skipped(3) == position
