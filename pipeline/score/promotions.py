"""Which model holds from which event time: a pure function of the records in the topic `models`, in their order.

The protocol
------------
1. Someone (retrain, `forebay model promote`) appends a promotion: model, and the event time `effective_from_us` from
   which it is to hold, beyond everything scored so far.
2. Every partition of `features` votes once, through the worker that owns it, between two groups of batches:
   acceptance if no row with `end_ts_us` >= `effective_from_us` has been scored in it and the model can be loaded here;
   refusal, with the reason, otherwise. The vote travels in a transaction together with the partition's offset, so a
   worker that no longer owns the partition cannot cast it, and a new owner finds it before it scores anything.
3. An accepting partition scores no row at or beyond `effective_from_us` until the promotion is decided.
4. It holds once every partition has accepted; it is void at the first refusal. What comes later in the log changes
   neither. A void one is issued again, under another id and with a later time.

So at no time has anybody scored a row with a model that the finished log does not name for it: live runs, restarts and
replays that read the log to its end agree. Promotions must be ordered: one whose time is not after that of every
earlier one which is not void is void from the beginning, and refused as such. Rows older than every promotion belong
to the model the worker was started with. The wait of step 3 is short: owners vote as soon as they see the promotion,
rows or no rows; while a partition has no owner it lasts, and lag grows in Kafka. Malformed records are ignored by
everybody alike.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.errors import BadData

Record = Mapping[str, Any]
PROMOTION, ACCEPTANCE, REFUSAL = "promotion", "acceptance", "refusal"


@dataclass(frozen=True, slots=True)
class Promotion:
    """A model and the event time from which it is to hold."""

    id: str
    model: str
    sha256: str
    uri: str
    effective_from_us: int

    @classmethod
    def of(cls, record: Record) -> "Promotion":
        """From a record of kind promotion; BadData where a field is missing or of the wrong kind."""
        try:
            made = cls(
                str(record["promotion"]),
                str(record["model"]),
                str(record["sha256"]),
                str(record["uri"]),
                int(record["effective_from_us"]),
            )
            if not -(2**63) <= made.effective_from_us < 2**63:
                raise ValueError(f"effective_from_us {made.effective_from_us} is no int64")
            return made
        except (KeyError, TypeError, ValueError) as error:
            raise BadData(
                f"promotion {dict(record)}: got {error!r}, expected the fields of a promotion record"
            ) from error


class Ledger:
    """What the records read so far amount to.

    Parameters
    ----------
    partitions : int
        How many partitions of `features` vote.
    """

    def __init__(self, partitions: int) -> None:
        self._partitions = partitions
        self._undecided: dict[str, Promotion] = {}
        self._untimely: dict[str, tuple[Promotion, int]] = {}
        self._accepted: dict[str, set[int]] = {}
        self._seen: set[str] = set()
        self._holding: list[Promotion] = []

    def take(self, record: Record) -> None:
        """One more record; kinds and votes nobody asked for change nothing.

        BadData, and nothing changed, for a malformed promotion.
        """
        kind, name = record.get("kind"), str(record.get("promotion"))
        if kind == PROMOTION:
            self._propose(Promotion.of(record))
        elif kind == REFUSAL:
            self._undecided.pop(name, None)
            self._untimely.pop(name, None)
        elif name in self._undecided and kind == ACCEPTANCE and isinstance(record.get("partition"), int):
            accepted = self._accepted[name]
            accepted.add(record["partition"])
            if accepted >= set(range(self._partitions)):
                self._holding.append(self._undecided.pop(name))
                self._holding.sort(key=lambda promotion: promotion.effective_from_us)

    def _propose(self, promotion: Promotion) -> None:
        if promotion.id in self._seen:
            return
        self._seen.add(promotion.id)
        last_us = max((one.effective_from_us for one in [*self._holding, *self._undecided.values()]), default=None)
        if last_us is None or promotion.effective_from_us > last_us:
            self._undecided[promotion.id] = promotion
            self._accepted[promotion.id] = set()
        else:
            self._untimely[promotion.id] = promotion, last_us

    @property
    def holding(self) -> Sequence[Promotion]:
        """Promotions that hold, by their time."""
        return self._holding

    def to_vote(self, partition: int) -> list[Promotion]:
        """Undecided promotions this partition has not voted on."""
        return [one for one in self._undecided.values() if partition not in self._accepted[one.id]]

    @property
    def untimely(self) -> list[tuple[Promotion, int]]:
        """Promotions void from the beginning that nobody has said so of, each with the time it had to lie after."""
        return list(self._untimely.values())

    @property
    def bound_us(self) -> int | None:
        """No row at or beyond this event time may be scored yet; None where nothing is undecided."""
        return min((one.effective_from_us for one in self._undecided.values()), default=None)

    def chosen(self, end_ts_us: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Per row, how many promotions hold for it: 0 is the first model, i is `holding[i - 1]`."""
        times = np.array([one.effective_from_us for one in self._holding], dtype=np.int64)
        return np.searchsorted(times, end_ts_us, side="right").astype(np.int64)


def vote(
    promotion: Promotion, partition: int, partitions: int, reached_us: int, unusable: str | None = None
) -> dict[str, object]:
    """A partition's vote.

    Parameters
    ----------
    reached_us : int
        What the promotion must lie beyond: the highest event time scored in the partition, or an earlier promotion's.
    unusable : str or None
        Why the model cannot be used here, None where it can.
    """
    reason = unusable
    if reached_us >= promotion.effective_from_us:
        reason = (
            f"too late: it holds from {promotion.effective_from_us}, but rows up to {reached_us} are scored or an "
            f"earlier promotion holds from there (partition {partition}); issue it again with a later time"
        )
    record: dict[str, object] = {
        "kind": ACCEPTANCE if reason is None else REFUSAL,
        "promotion": promotion.id,
        "model": promotion.model,
        "effective_from_us": promotion.effective_from_us,
        "partition": partition,
        "partitions": partitions,
        "watermark_us": reached_us,
    }
    return record if reason is None else {**record, "reason": reason}
