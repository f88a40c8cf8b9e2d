import pytest

from pipeline.errors import RefusedState, SequenceGap
from pipeline.score.position import Place


def test_a_place_survives_its_metadata() -> None:
    place = Place(17, 12, 1_678_443_574_078_823)
    assert Place.committed(17, place.metadata(), "features[0]") == place
    assert len(place.metadata()) < 64


@pytest.mark.parametrize("metadata", [None, "", "{}", "[]", "x", '{"seq": "a", "until": 1}'])
def test_offsets_set_by_another_tool_are_refused(metadata: str | None) -> None:
    with pytest.raises(RefusedState, match=r"features\[0\]"):
        Place.committed(3, metadata, "features[0]")


def test_lower_seq_is_dropped_and_a_gap_stops() -> None:
    place = Place(10, 5)
    assert place.takes(10, 5, "f[0]")
    assert place.takes(14, 5, "f[0]")  # offsets have holes
    assert not place.takes(11, 4, "f[0]")  # emitted again
    assert not place.takes(9, 5, "f[0]")  # read again
    with pytest.raises(SequenceGap, match=r"f\[0\]@10: got seq 6, expected 5"):
        place.takes(10, 6, "f[0]")


def test_a_place_moves_on() -> None:
    place = Place(10, 5, 100).after(10, 5, 90)
    assert place == Place(11, 6, 100)
    assert place.after(12, 6, 130) == Place(13, 7, 130)
    assert place.past(20) == Place(21, 6, 100)
    assert place.past(3) == place
