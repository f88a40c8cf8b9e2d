"""One real Kafka for the whole test session, and fresh topic names for every test."""

import os
import signal
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from pipeline.tools.broker import local

# A busy machine is no failure, so there are no deadlines. In CI the examples are the same in every run; elsewhere they
# differ. `pytest --hypothesis-profile thorough` looks harder.
settings.register_profile("forebay", deadline=None, max_examples=25, derandomize="CI" in os.environ)
settings.register_profile("thorough", deadline=None, max_examples=500)
settings.load_profile("forebay")

# Started in the background of a script, Ctrl-C is ignored, also by all that the tests start; they must feel it.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_assertrepr_compare(op: str, left: Any, right: Any) -> list[str] | None:
    """Say where two lists of messages part; printed whole, they bury the name of the test under screens of bytes."""
    if op != "==" or not all(
        isinstance(one, list) and any(isinstance(each, bytes) for each in one) for one in (left, right)
    ):
        return None
    pairs = zip(left, right, strict=False)
    where = next((number for number, (one, other) in enumerate(pairs) if one != other), min(len(left), len(right)))
    return [f"{len(left)} messages == {len(right)} messages, the same up to message {where}"]


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Bootstrap address of the session's broker: on a free port, its data in a temporary folder, gone afterwards.

    FOREBAY_TEST_BOOTSTRAP names a Kafka to use instead: saves the start while a test is being written.
    """
    chosen = os.environ.get("FOREBAY_TEST_BOOTSTRAP")
    if chosen:
        yield chosen
        return
    data: Path = tmp_path_factory.mktemp("broker")
    running = local.start(data)
    try:
        yield running.bootstrap
    finally:
        local.stop(data, grace_s=10.0)


@pytest.fixture
def prefix() -> str:
    """A topic prefix nobody else uses: tests share the broker, never a topic."""
    return f"t{uuid.uuid4().hex[:10]}."
