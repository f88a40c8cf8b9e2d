"""Saved state: whole or refused."""

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import RefusedState
from pipeline.featurize import snapshot as module
from pipeline.featurize.feature_set import FEATURE_SET
from pipeline.featurize.sensor import SensorState, advance
from pipeline.featurize.snapshot import restore, snapshot
from tests.examples import examples
from tests.featurize.flows import batch

ROWS = [{"at": number / 3, "dst_addr": f"10.0.0.{number % 7}"} for number in range(40)]


@pytest.fixture(scope="module")
def saved() -> bytes:
    return snapshot(advance(SensorState.empty(), batch(ROWS), False, 1_000_000)[0])


def _sealed(body: bytes) -> bytes:
    return body + hashlib.sha256(body).digest()


def test_the_empty_state_survives() -> None:
    assert snapshot(restore(snapshot(SensorState.empty()))) == snapshot(SensorState.empty())


def test_another_feature_set_is_refused_by_both_names(saved: bytes) -> None:
    body = saved[:-32].replace(FEATURE_SET.hash.encode(), b"0" * 64)
    with pytest.raises(RefusedState, match=f"{'0' * 64}.*{FEATURE_SET.hash}"):
        restore(_sealed(body))


@settings(max_examples=examples(50))
@given(st.data())
def test_a_changed_byte_is_refused(data: st.DataObject) -> None:
    whole = snapshot(SensorState.empty())
    offset = data.draw(st.integers(0, len(whole) - 1))
    changed = bytearray(whole)
    changed[offset] ^= data.draw(st.integers(1, 255))
    with pytest.raises(RefusedState):
        restore(bytes(changed))


@given(st.binary(max_size=300))
def test_garbage_is_refused(garbage: bytes) -> None:
    for saved in (garbage, module.MAGIC + garbage, _sealed(module.MAGIC + garbage)):
        with pytest.raises(RefusedState, match="expected a snapshot"):
            restore(saved)


def test_cut_short_is_refused(saved: bytes) -> None:
    for length in range(0, len(saved), 997):
        with pytest.raises(RefusedState):
            restore(saved[:length])


def test_the_state_of_an_earlier_version_is_read(saved: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its waiting flows lack columns that may be null."""
    write = module._batch_out
    monkeypatch.setattr(module, "_batch_out", lambda flows: write(flows.drop_columns(["export_sequence", "raw_also"])))
    state = restore(saved)
    before = snapshot(state)
    monkeypatch.undo()
    assert len(before) < len(saved) and len(state.waiting) > 0
    assert snapshot(restore(before)) == saved
    monkeypatch.setattr(module, "_batch_out", lambda flows: write(flows.drop_columns(["end_ts_us"])))
    with pytest.raises(RefusedState, match="other columns"):
        restore(snapshot(state))


def test_arrays_that_do_not_fit_their_header_are_refused(saved: bytes) -> None:
    with pytest.raises(RefusedState, match="bytes too many"):
        restore(_sealed(saved[:-32] + b"\0"))
    with pytest.raises(RefusedState, match="array"):
        restore(_sealed(saved[:-32].replace(b'"<f8"', b'"|O8"')))
