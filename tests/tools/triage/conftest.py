"""Passwords that are cheap to hash: the page's tests make hundreds of accounts and sign in as often."""

from collections.abc import Iterator

import pytest
from argon2 import PasswordHasher

from pipeline.tools.triage import accounts


@pytest.fixture(scope="module", autouse=True)
def product_hasher() -> Iterator[PasswordHasher]:
    """The hasher that people get; the tests' own takes a thousandth of its time."""
    ours = accounts._hasher
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(accounts, "_hasher", PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
        accounts._nobody.cache_clear()
        yield ours
    accounts._nobody.cache_clear()
