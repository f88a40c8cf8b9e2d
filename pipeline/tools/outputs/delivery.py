"""One output at work on revisions: sent in order, again until the receiver takes each, parked where it never will.

A receiver that is away stops its own output alone; nothing is queued beside what was read at once.
"""

import random
import time
from collections.abc import Callable

from pipeline.errors import ForebayError
from pipeline.runtime import failpoints
from pipeline.runtime.shutdown import Stop
from pipeline.runtime.telemetry import Telemetry, log
from pipeline.tools.outputs.revision import Revision
from pipeline.tools.outputs.sending import Refused, Retry, Sender, Undelivered, delay_s

STAGE = "output"
# A receiver that stays away is said again after so long.
SAY_EVERY_S = 600.0
# A long wait is cut into these.
PIECE_S = 30.0


class Outcome:
    """What is counted and said of one output."""

    def __init__(self, name: str, telemetry: Telemetry) -> None:
        self.name = name
        self._telemetry = telemetry
        self._failing_since: float | None = None
        self._said_at = 0.0
        for counter in ("sent", "retries", "parked"):
            telemetry.count(f"forebay_output_{counter}", 0, output=name)

    def succeeded(self, answer: str, key: str, count: int = 1) -> None:
        """Count what was taken; say that a receiver is back."""
        self._telemetry.count("forebay_output_sent", count, output=self.name)
        self._telemetry.stage.rows_out(count)
        log(STAGE).debug("delivered", output=self.name, alert=key, answer=answer)
        if self._failing_since is not None:
            away_s = round(time.monotonic() - self._failing_since, 1)
            log(STAGE).info("delivers again", output=self.name, away_s=away_s)
            self._failing_since = None

    def failed(self, error: Exception) -> None:
        """Count a failed attempt; say so the first time, and every ten minutes."""
        self._telemetry.count("forebay_output_retries", output=self.name)
        now = time.monotonic()
        if self._failing_since is None:
            self._failing_since, self._said_at = now, now - SAY_EVERY_S
        if now - self._said_at >= SAY_EVERY_S:
            self._said_at = now
            for_s = round(now - self._failing_since, 1)
            reason = (
                f"{type(error).__name__}: {error}" if not isinstance(error, Undelivered | ForebayError) else str(error)
            )
            log(STAGE).warning("not delivered, tried again", output=self.name, reason=reason, for_s=for_s)

    def parked(self, revision: Revision, error: Refused, is_held: bool) -> None:
        """Count and say what the receiver will never take; `is_held`: it is in topic `parked`, to be sent again."""
        self._telemetry.count("forebay_output_parked", output=self.name)
        log(STAGE).error(
            "parked: the receiver does not take it",
            output=self.name,
            alert=revision.key,
            reason=str(error),
            remedy="`forebay output resend` sends it again"
            if is_held
            else f"too large to be sent again; `forebay alert show {revision.uid[:12]}` has it",
        )


class Delivery:
    """Sends revisions of one output through its sender.

    Parameters
    ----------
    beat : says that the loop is alive
    park : holds durably what is refused, with why; False where it cannot be held
    wait : waits so many seconds and says whether to go on; for tests
    """

    def __init__(
        self,
        outcome: Outcome,
        sender: Sender,
        stop: Stop,
        beat: Callable[[], None],
        park: Callable[[Revision, str], bool],
        wait: Callable[[float], bool] | None = None,
    ) -> None:
        self._outcome, self._sender = outcome, sender
        self._stop, self._beat, self._park = stop, beat, park
        self._wait = wait or stop.wait

    def deliver(self, revision: Revision) -> bool:
        """Send it; False where the worker was asked to stop before it was taken."""
        attempt = 0
        while not self._stop.requested:
            self._beat()
            try:
                answer = self._sender.send(revision)
            except Retry as error:
                attempt += 1
                self._outcome.failed(error)
                if not self._pause(delay_s(attempt, random.random(), error.after_s)):
                    return False
            except Refused as error:
                self._outcome.parked(revision, error, self._park(revision, str(error)))
                failpoints.reached("output.parked")
                return True
            except Exception as error:  # a fault of ours, or a library's: it stops this output, and no other one
                attempt += 1
                self._outcome.failed(error)
                if not self._pause(delay_s(attempt, random.random())):
                    return False
            else:
                self._outcome.succeeded(answer, revision.key)
                return True
        return False

    def _pause(self, seconds: float) -> bool:
        """Wait in pieces, so that the loop is seen to be alive."""
        while seconds > 0:
            if not self._wait(min(seconds, PIECE_S)):
                return False
            self._beat()
            seconds -= PIECE_S
        return True
