"""Stopping: the first SIGINT or SIGTERM asks, the second one leaves at once with 130."""

import os
import signal
import time
from types import FrameType

POLL_S = 0.1


class Stop:
    """`requested` turns true at the first signal; a loop looks at it between two batches.

    With `second_leaves=False` further signals change nothing: for a parent that must first stop its children.
    """

    def __init__(self, second_leaves: bool = True) -> None:
        self.requested = False
        self._second_leaves = second_leaves

    def listen(self) -> "Stop":
        """Take over SIGINT and SIGTERM; only the main thread can."""
        signal.signal(signal.SIGINT, self._signalled)
        signal.signal(signal.SIGTERM, self._signalled)
        return self

    def wait(self, seconds: float) -> bool:
        """Whether the time passed without being asked to stop."""
        deadline = time.monotonic() + seconds
        while not self.requested and (left := deadline - time.monotonic()) > 0:
            time.sleep(min(left, POLL_S))
        return not self.requested

    def _signalled(self, _number: int, _frame: FrameType | None) -> None:
        if self.requested and self._second_leaves:
            os._exit(130)
        self.requested = True
