"""How far a command is, on a terminal; and how fast a sender is asked to be."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import Progress

from pipeline.errors import Usage
from pipeline.tools.cli.output import people


@contextmanager
def progress(what: str, quiet: bool) -> Iterator[Callable[[int, int], None]]:
    """Call what it gives with how many are done, of how many; nothing is shown where nobody looks."""
    with Progress(console=people, transient=True, disable=quiet or not people.is_terminal) as shown:
        task = shown.add_task(what, total=None)
        yield lambda done, total: shown.update(task, completed=done, total=total)


@contextmanager
def sending_progress(title: str, total: int, quiet: bool) -> Iterator[Callable[[int], None]]:
    """A bar on stderr, of `total` records, that stays; nothing is shown where nobody looks."""
    if quiet or not sys.stderr.isatty():
        yield lambda _done: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn

    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=people) as bar:
        task = bar.add_task(title, total=total)
        yield lambda done: bar.update(task, completed=done)


def positive_or_max(option: str, text: str) -> float:
    """The value of `--speed` or `--rate`: a number above 0, or 0.0 for `max`."""
    if text == "max":
        return 0.0
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise Usage(f"{option}: got {text}, expected max or a number above 0")
    return value
