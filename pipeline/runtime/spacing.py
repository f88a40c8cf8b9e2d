"""When a piece of work that comes again and again may start next: seldom enough to leave most of the time to others."""

from collections import deque


class Spacing:
    """A piece of work is followed by a rest of `ratio` times what it took, from `least_rest_s` to `max_rest_s`.

    For what costs nearly the same however much there is to do, so that the more it costs, the more is done at once:
    with a ratio of 2 at most a third of the time goes into it. What comes after the rest waits for nothing. Times are
    seconds of one clock that does not go back:

        0 ms   8 ms                        24 ms
        work   rest                        what comes at 11 ms waits until 24 ms, at 30 ms not at all

    Parameters
    ----------
    ratio : float
    max_rest_s : float
        Nothing waits longer than that.
    least_rest_s : float
        `max_rest_s` at most.
    of_last : int
        The shortest of so many pieces of work counts, not the last: a long one among short ones is no busy machine.
    """

    def __init__(self, ratio: float, max_rest_s: float, least_rest_s: float = 0.0, of_last: int = 1) -> None:
        self._ratio, self._max_rest_s, self._least_rest_s = ratio, max_rest_s, least_rest_s
        self._took_s: deque[float] = deque(maxlen=of_last)
        self._next_s = 0.0

    def ended(self, started_s: float, ended_s: float) -> None:
        """The work took from one time to the other."""
        self._took_s.append(ended_s - started_s)
        self._next_s = ended_s + min(max(self._ratio * min(self._took_s), self._least_rest_s), self._max_rest_s)

    def left_s(self, now_s: float) -> float:
        """How much of the rest is left."""
        return min(max(self._next_s - now_s, 0.0), self._max_rest_s)
