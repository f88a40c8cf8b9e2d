"""Where the public data sets are, for tests that read them: in the folder that FOREBAY_TEST_DATA names."""

import os
from pathlib import Path

import pytest

FOLDER = Path(os.environ.get("FOREBAY_TEST_DATA", "nowhere"))


def needs(part: str, shows: str) -> pytest.MarkDecorator:
    """Skip where the folder holds no such file or folder; `shows` is what a run without it leaves unproven."""
    reason = f"not proven: {shows} (FOREBAY_TEST_DATA holds no {part})"
    return pytest.mark.skipif(not (FOLDER / part).exists(), reason=reason)
