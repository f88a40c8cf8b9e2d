"""How far a training has come, for people: a bar on a terminal, a line a stage elsewhere; on stderr."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import typer
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from pipeline.tools.cli.output import people, say

RESUMES = "interrupted; the same command with --resume continues after the last stage that ended"


@contextmanager
def training_shown(quiet: bool, interrupted: str = RESUMES) -> Iterator[Callable[[str, float], None]]:
    """Yield the callback for each stage and the share of the training that is done; Ctrl-C says how to go on.

    Asked to stop (SIGTERM), it leaves as after Ctrl-C.
    """
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        if quiet:
            yield lambda _stage, _share: None
        elif people.is_terminal:
            columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
            with Progress(*columns, console=people, transient=True) as progress:
                task = progress.add_task("", total=1.0)
                yield lambda stage, share: progress.update(task, description=escape(stage), completed=share)
        else:
            yield _Lines().notify
    except KeyboardInterrupt:
        say(interrupted, quiet)
        raise typer.Exit(130) from None
    finally:
        signal.signal(signal.SIGTERM, before)


class _Lines:
    """A line for each stage as it starts."""

    def __init__(self) -> None:
        self._stage = ""

    def notify(self, stage: str, share: float) -> None:
        """Print the stage where it is a new one."""
        if stage != self._stage:
            self._stage = stage
            say(f"{100 * share:3.0f} %  {escape(stage)}")
