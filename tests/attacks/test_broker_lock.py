"""A lock file decides which code runs: whatever is in it, it is read whole or refused, and names no path."""

from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import BadData
from pipeline.tools.broker import lock

toml_string = st.text(st.characters(exclude_characters='"\\', exclude_categories=["C"]), max_size=30)


@given(st.text(max_size=200))
def test_any_text_is_a_lock_or_bad_data(text: str) -> None:
    try:
        lock.parse(text)
    except BadData:
        return


@given(coordinate=toml_string, sha256=toml_string, size_bytes=st.integers(-(2**62), 2**62))
def test_any_entry_is_refused_or_names_a_plain_file(coordinate: str, sha256: str, size_bytes: int) -> None:
    entry = f'coordinate = "{coordinate}"\nsha256 = "{sha256}"\nsize_bytes = {size_bytes}'
    try:
        read = lock.parse(f'kafka = "4"\n[[jar]]\n{entry}\n')
    except BadData:
        return
    assert "/" not in read.jars[0].file_name


@given(st.from_regex(r"[a-z./:]{0,8}(\.\./|/|[a-z]:)[a-z./:]{0,8}", fullmatch=True))
def test_no_coordinate_leaves_the_cache_folder(part: str) -> None:
    text = f'kafka = "4"\n[[jar]]\ncoordinate = "g:{part}:1"\nsha256 = "{"a" * 64}"\nsize_bytes = 1\n'
    try:
        read = lock.parse(text)
    except BadData:
        return
    assert "/" not in read.jars[0].file_name
    assert not read.jars[0].file_name.startswith(".")
