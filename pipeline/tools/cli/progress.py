"""A bar on a terminal while a command works through so many things."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import Progress

from pipeline.tools.cli.output import people


@contextmanager
def progress(what: str, quiet: bool) -> Iterator[Callable[[int, int], None]]:
    """Call what it gives with how many are done, of how many; nothing is shown where nobody looks."""
    with Progress(console=people, transient=True, disable=quiet or not people.is_terminal) as shown:
        task = shown.add_task(what, total=None)
        yield lambda done, total: shown.update(task, completed=done, total=total)
