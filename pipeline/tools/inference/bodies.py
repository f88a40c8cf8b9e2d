"""What turns bodies into rows and scores into bodies beside the event loop where that takes long."""

import asyncio
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

LARGE_BYTES = 262_144
"""Of a request: what is shorter is decoded in 3 ms of a core, less than the way to a thread and back can take."""
LARGE_ROWS = 4_096
"""Of an answer: its eight outputs take 1 ms."""


class Bodies:
    """Decodes and encodes bodies. Its methods belong to one event loop.

    Large ones go through a thread, one after the other: what is decoded holds some twenty times its body's memory at
    worst for as long as that takes, and so is there once, whatever is asked at the same time. How many bodies wait for
    their turn is the guard's bound.

    A thread is no core of its own: what keeps Python's lock, orjson's one call above all, still stops the loop.
    """

    def __init__(self) -> None:
        self._one = asyncio.Lock()

    async def run(self, large: bool, function: Callable[P, R], *given: P.args, **named: P.kwargs) -> R:
        """What `function` returns or raises, from a thread where its work is large."""
        if not large:
            return function(*given, **named)
        async with self._one:
            return await asyncio.to_thread(function, *given, **named)
