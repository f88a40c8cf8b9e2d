"""A state in parts: what has not changed is not written again, and what is not whole is refused."""

import os
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import RefusedState
from pipeline.runtime.state import parts
from pipeline.runtime.state.parts import MAGIC, Saved
from pipeline.runtime.state.store import Store


def _out(part: object) -> bytes:
    return bytes(part)  # type: ignore[call-overload,no-any-return]


def _got(store: Store, digest: str) -> tuple[bytes, dict[str, bytes]]:
    rest, digests = parts.get(store, digest)
    return rest, {name: store.get(part_digest) for name, part_digest in digests.items()}


def test_what_has_not_changed_is_not_written_again(tmp_path: Path) -> None:
    store = Store(tmp_path, "stage/0")
    unchanged, replaced = bytearray(b"one" * 100), bytearray(b"other" * 100)
    first = parts.put(store, b"rest", {"a": unchanged, "b": replaced}, _out, None)
    assert _got(store, first.digest) == (b"rest", {"a": bytes(unchanged), "b": bytes(replaced)})
    asked: list[object] = []

    def noted(part: object) -> bytes:
        asked.append(part)
        return _out(part)

    fresh = bytearray(b"fresh")
    second = parts.put(store, b"rest 2", {"a": unchanged, "b": fresh}, noted, first)
    assert asked == [fresh] and second.written < 250 < first.written
    assert _got(store, second.digest) == (b"rest 2", {"a": bytes(unchanged), "b": b"fresh"})
    assert _got(store, first.digest) == (b"rest", {"a": bytes(unchanged), "b": bytes(replaced)})
    assert len(first.digests | second.digests) == len(list((tmp_path / store.name).iterdir())) == 5


def test_an_unchanged_part_that_is_gone_is_written_again_and_one_in_use_stays_young(tmp_path: Path) -> None:
    store, part = Store(tmp_path, "stage/0"), bytearray(b"part")
    saved = parts.put(store, b"", {"a": part}, _out, None)
    (digest,) = (part_digest for _, part_digest in saved.parts.values())
    hour_ago = time.time() - 3600
    os.utime((tmp_path / store.name) / digest, (hour_ago, hour_ago))
    parts.put(store, b"", {"a": part}, _out, saved)
    assert store.collect((), 60) == 0
    ((tmp_path / store.name) / digest).unlink()
    again = parts.put(store, b"", {"a": part}, _out, saved)
    assert _got(store, again.digest) == (b"", {"a": b"part"})


def test_without_parts_it_is_what_the_stage_made(tmp_path: Path) -> None:
    store = Store(tmp_path, "stage/0")
    saved = parts.put(store, b"all of it", {}, _out, None)
    assert store.get(saved.digest) == b"all of it" and saved.digests == {saved.digest}
    assert parts.get(store, saved.digest) == (b"all of it", {})


@pytest.mark.slow
@given(st.binary(max_size=80))
def test_garbage_is_refused_or_no_parts(tmp_path_factory: pytest.TempPathFactory, garbage: bytes) -> None:
    store = Store(tmp_path_factory.mktemp("state"), "stage/0")
    with pytest.raises(RefusedState):
        parts.get(store, store.put(MAGIC + b"\x00" + garbage))
    for text in (b"[]", b"{}", b'{"a":1}\n', b"null\n"):
        with pytest.raises(RefusedState):
            parts.get(store, store.put(MAGIC + text))
    assert Saved("d").digests == {"d"}
