"""Fits are stored whole or not at all, and a folder belongs to one run."""

from pathlib import Path

import pytest

from models.errors import RefusedModel
from models.lab.protocols.store import Store

RUN = {"protocol": "cost", "data": {"a": "1"}}


def test_what_is_written_is_read(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.begin(RUN, resume=False)
    store.write("cost/svm/split-seed0-binary", {"protocol": "cost", "model": "svm"})
    assert store.has("cost/svm/split-seed0-binary") and not store.has("cost/svm/split-seed1-binary")
    assert store.read() == [{"protocol": "cost", "model": "svm"}]
    assert not list(tmp_path.rglob(".unfinished-*"))


def test_a_folder_is_taken_up_again_only_when_asked(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.begin(RUN, resume=False)
    with pytest.raises(RefusedModel, match="give --resume"):
        store.begin(RUN, resume=False)
    store.begin(RUN, resume=True)


@pytest.mark.parametrize("other", [{"protocol": "iiot", "data": {"a": "1"}}, {"protocol": "cost", "data": {"a": "2"}}])
def test_fits_of_something_else_are_not_mixed_in(tmp_path: Path, other: dict[str, object]) -> None:
    Store(tmp_path).begin(RUN, resume=False)
    with pytest.raises(RefusedModel, match="another --out"):
        Store(tmp_path).begin(other, resume=True)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"protocol": 1}', b"\xff\x00"])
def test_a_file_that_is_no_fit_is_named(tmp_path: Path, content: bytes) -> None:
    path = Store(tmp_path).path("cost/svm/x")
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    with pytest.raises(RefusedModel, match=r"x\.json: got no fit"):
        Store(tmp_path).read()
