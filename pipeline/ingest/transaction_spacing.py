"""When the next transaction may start: soon enough for a lone record, seldom enough for a stream of them."""

REST_RATIO = 2.0
MAX_REST_S = 0.05


class TransactionSpacing:
    """A transaction is followed by a rest of REST_RATIO times what it took, MAX_REST_S at most.

    What a transaction costs depends on its partitions, hardly on how many records it holds, here, at the broker and in
    every stage behind. So at most a third of the time goes into them, on a quiet machine; on a busy one they take
    longer, and are fewer and larger. A record that comes after the rest waits for nothing, and what comes meanwhile
    shares the next one. Times are seconds of one clock that does not go back:

        0 ms          8 ms                        24 ms
        transaction   rest                        a record at 11 ms waits until 24 ms, one at 30 ms not at all
    """

    def __init__(self) -> None:
        self._next_s = 0.0

    def ended(self, started_s: float, ended_s: float) -> None:
        """A transaction took from one time to the other."""
        self._next_s = ended_s + min(max(REST_RATIO * (ended_s - started_s), 0.0), MAX_REST_S)

    def left_s(self, now_s: float) -> float:
        """How much of the rest is left."""
        return min(max(self._next_s - now_s, 0.0), MAX_REST_S)
