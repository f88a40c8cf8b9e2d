"""The service that requests go to, and how another one takes its place."""

from pipeline.tools.inference.scoring_service import ScoringService


class CurrentService:
    """The service of now. Its methods belong to one event loop.

    A request asks for `now` once, when it is whole, and is checked, scored and answered by that one: what was taken in
    before a swap is scored by the model of then, and by no other.
    """

    def __init__(self, first: ScoringService) -> None:
        self.now = first

    async def swap(self, following: ScoringService) -> None:
        """Requests go to `following` from here on; returns once the one before has answered all that it took in.

        One after the other: no more than two are there at a time, each with its bound on waiting rows.
        """
        before, self.now = self.now, following
        try:
            await before.drained()
        finally:
            before.close()

    def close(self) -> None:
        """Begin nothing more."""
        self.now.close()
