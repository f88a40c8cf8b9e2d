"""One real Kafka for the whole test session, and fresh topic names for every test."""

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from pipeline.broker import local

# A busy machine is no failure, so there are no deadlines. In CI the examples are the same in every run; elsewhere they
# differ. `pytest --hypothesis-profile thorough` looks harder.
settings.register_profile("forebay", deadline=None, max_examples=25, derandomize="CI" in os.environ)
settings.register_profile("thorough", deadline=None, max_examples=500)
settings.load_profile("forebay")


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
