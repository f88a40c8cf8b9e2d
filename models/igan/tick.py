"""How far a stage of training has come, reported while it runs."""

from collections.abc import Callable

Tick = Callable[[float], None]  # the share of the stage that is done, 0 to 1


def ignore(_: float) -> None:
    """Discard the progress."""
