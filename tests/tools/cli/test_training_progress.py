import os
import signal
import time
from collections.abc import Iterator

import pytest
import typer

from pipeline.tools.cli.training_progress import training_shown


def test_elsewhere_than_on_a_terminal_every_stage_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    with training_shown(quiet=False) as watch:
        for stage, share in (("encoder", 0.0), ("encoder", 0.1), ("gan", 0.25), ("without [red]: encoder", 0.9)):
            watch(stage, share)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == ["  0 %  encoder", " 25 %  gan", " 90 %  without [red]: encoder"]


def test_with_json_nothing_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    with training_shown(quiet=True) as watch:
        watch("encoder", 0.5)
    captured = capsys.readouterr()
    assert captured.out == captured.err == ""


@pytest.fixture
def interruptible() -> Iterator[None]:
    """SIGINT raises, whatever handler an earlier test or the shell left behind."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_asked_to_stop_it_says_how_to_resume(number: signal.Signals, capsys: pytest.CaptureFixture[str]) -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(typer.Exit) as left, training_shown(quiet=False):
        os.kill(os.getpid(), number)
        time.sleep(10)
    assert left.value.exit_code == 130
    assert "--resume" in capsys.readouterr().err
    assert signal.getsignal(signal.SIGTERM) == before
