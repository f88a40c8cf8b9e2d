"""One real Kafka for the whole test session, and fresh topic names for every test."""

import atexit
import gc
import logging
import os
import shutil
import signal
import tempfile
import uuid
from collections import Counter
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from hypothesis import HealthCheck, settings

from pipeline.runtime.telemetry.logs import LibraryLines
from pipeline.tools.broker import local
from tests.examples import ORDINARY

# A busy machine is no failure, so there are no deadlines, neither of an example nor of its drawing. In CI the examples
# are the same in every run; elsewhere they differ. `pytest --hypothesis-profile thorough` looks harder.
patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("forebay", patient, max_examples=ORDINARY, derandomize="CI" in os.environ)
settings.register_profile("thorough", patient, max_examples=20 * ORDINARY)
settings.load_profile("forebay")

# Started in the background of a script, Ctrl-C is ignored, also by all that the tests start; they must feel it.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_assertrepr_compare(op: str, left: Any, right: Any) -> list[str] | None:
    """Report where two lists of messages differ; printed whole, they bury the test's name under screens of bytes."""
    if op != "==" or not all(
        isinstance(messages, list) and any(isinstance(each, bytes) for each in messages) for messages in (left, right)
    ):
        return None
    pairs = zip(left, right, strict=False)
    where = next((number for number, (ours, theirs) in enumerate(pairs) if ours != theirs), min(len(left), len(right)))
    return [f"{len(left)} messages == {len(right)} messages, the same up to message {where}"]


SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD)
BROKER = pytest.StashKey[Path]()
UNPROVEN = "not proven: "


def pytest_configure(config: pytest.Config) -> None:
    """One folder for the broker of all processes of a parallel run; whoever made it stops the broker and removes it."""
    shared_folder = getattr(config, "workerinput", {}).get("broker")
    config.stash[BROKER] = Path(shared_folder or Path(tempfile.gettempdir()) / f"forebay-tests-{uuid.uuid4().hex[:10]}")
    if shared_folder is None:
        config.add_cleanup(lambda: _end(config.stash[BROKER]))


# Files of a minute and more: first, or one of the processes works on them alone at the end.
LONGEST = (
    *("test_campaign.py", "test_up.py", "test_score_worker.py", "test_replay.py", "test_ingest_worker.py"),
    *("test_featurize_worker.py", "test_alert_worker.py", "test_retrain_fitted.py", "test_faust_read_committed.py"),
    *("test_sensor.py", "test_faust_storms.py", "test_kill_each_stage.py", "test_retrain_worker.py"),
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files against Kafka first; otherwise the order stays."""
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Imports and collected tests stay: to look for garbage among them meanwhile takes each process 3 s of a core."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()


def pytest_collection_finish() -> None:
    """What is imported and collected by now stays until the end: no collection of garbage goes through it again.

    Nor do the five that pytest makes at the end: only then is the process taken apart like every other.
    """
    gc.collect()
    gc.freeze()
    atexit.register(gc.unfreeze)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    node.workerinput["broker"] = str(node.config.stash[BROKER])


def _end(folder: Path) -> None:
    local.stop(folder / "broker", grace_s=10.0)
    shutil.rmtree(folder, ignore_errors=True)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """How many tests were skipped, and which promises this run therefore did not show."""
    skipped = Counter(
        str(report.longrepr[2]).removeprefix("Skipped: ") for report in terminalreporter.stats.get("skipped", [])
    )
    if skipped:
        terminalreporter.section(f"{skipped.total()} skipped: what this run did not show")
        for reason, count in sorted(skipped.items()):
            terminalreporter.line(f"{count:4} x {reason.removeprefix(UNPROVEN)}")


@pytest.fixture(autouse=True)
def same_process_afterwards() -> Iterator[None]:
    """What a command sets for its whole process is as it was when the next test of this process begins."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    logs = structlog.get_config() if structlog.is_configured() else None
    signals = {number: signal.getsignal(number) for number in SIGNALS}
    yield
    # pytest's own handlers come and go with the parts of a test: what they are now is not what they were.
    for handler in [each for each in root.handlers if isinstance(each, LibraryLines) and each not in handlers]:
        root.removeHandler(handler)
    root.setLevel(level)
    logging.captureWarnings(False)
    structlog.reset_defaults()
    if logs is not None:
        structlog.configure(**logs)
    for number, before in signals.items():
        if before is not None:  # else one that was not set from Python
            signal.signal(number, before)


@pytest.fixture(scope="session")
def kafka(pytestconfig: pytest.Config) -> str:
    """Bootstrap address of the run's broker: on a free port, its data in a temporary folder, gone afterwards.

    Several processes of one run share it: starting it where it runs already says where that is.
    FOREBAY_TEST_BOOTSTRAP names a Kafka to use instead: saves the start while a test is being written.
    """
    chosen = os.environ.get("FOREBAY_TEST_BOOTSTRAP")
    return chosen or local.start(pytestconfig.stash[BROKER] / "broker").bootstrap


@pytest.fixture
def prefix() -> str:
    """A topic prefix nobody else uses: tests share the broker, never a topic."""
    return f"t{uuid.uuid4().hex[:10]}."
