"""Which model holds from which event time: a pure function of the records in the topic `models`, in their order.

The protocol
------------
1. Someone (retrain, `forebay model promote`) appends a promotion: model, and the event time `effective_from_us` from
   which it is to hold, beyond everything scored so far.
2. Every partition of `features` votes once, through the worker that owns it, between two groups of batches:
   acceptance if no row with `end_ts_us` >= `effective_from_us` has been scored in it and the model can be loaded here;
   refusal, with the reason, otherwise. The vote travels in a transaction together with the partition's offset, so a
   worker that no longer owns the partition cannot cast it, and a new owner reads it before it scores anything.
3. An accepting partition scores no row at or beyond `effective_from_us` until the promotion is decided.
4. It holds once every partition has accepted; it is void at the first refusal. What comes later in the log changes
   neither. A void one is issued again, under another id and with a later time.

So at no time has any worker scored a row with a model that the finished log does not name for it: live runs, restarts
and replays that read the log to its end agree. Promotions must be ordered: one whose time is not after that of every
earlier one which is not void is void from the start, and refused as such. Rows older than every promotion belong
to the model the worker was started with. The wait of step 3 is short: owners vote as soon as they see the promotion,
rows or no rows; while a partition has no owner it lasts, and lag grows in Kafka.

Malformed records are ignored by every reader alike, so what is malformed is decided here, once: whole numbers are JSON
integers (no text, no `true`), the digest of the manifest is 64 hex digits, no text is empty.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson

from pipeline.errors import BadData

Record = Mapping[str, Any]
PROMOTION, ACCEPTANCE, REFUSAL = "promotion", "acceptance", "refusal"
SHA256 = re.compile(r"[0-9a-f]{64}")


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
        """The promotion in a record of that kind; BadData where a field is missing or of the wrong kind."""
        sha256 = _text(record, "sha256")
        if not SHA256.fullmatch(sha256):
            raise _malformed(record, "sha256", "64 hex digits")
        return cls(
            _text(record, "promotion"),
            _text(record, "model"),
            sha256,
            _text(record, "uri"),
            _whole(record, "effective_from_us", -(2**63), 2**63),
        )

    def record(self, by: str) -> dict[str, Any]:
        """The record to append to `models`; `by` is who issues it."""
        return {
            "kind": PROMOTION,
            "promotion": self.id,
            "model": self.model,
            "sha256": self.sha256,
            "uri": self.uri,
            "effective_from_us": self.effective_from_us,
            "by": by,
        }


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a promotion is void.

    `beyond_us` is the event time that it had to lie beyond; None where it was refused for another reason.
    """

    reason: str
    beyond_us: int | None


@dataclass(frozen=True, slots=True)
class Decision:
    """What the log says of one promotion so far: it holds, or it is void, or partitions have yet to vote."""

    holds: bool = False
    refusal: Refusal | None = None
    missing: tuple[int, ...] = ()

    @property
    def is_final(self) -> bool:
        """Whether no later record changes it."""
        return self.holds or self.refusal is not None


class PromotionLedger:
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
        self._refused: dict[str, Refusal] = {}
        self._known: set[str] = set()
        self._holding: list[Promotion] = []

    def apply(self, record: Record) -> None:
        """One more record; records of other kinds, and votes that no promotion waits for, change nothing.

        BadData, and nothing changed, for a malformed promotion or vote.
        """
        kind = record.get("kind")
        if kind == PROMOTION:
            self._propose(Promotion.of(record))
        elif kind in (ACCEPTANCE, REFUSAL):
            self._vote(record, _text(record, "promotion"), _whole(record, "partition", 0, self._partitions))

    def apply_payload(self, payload: bytes | None) -> Record:
        """One more message of `models`; the record in it. BadData, and nothing changed, where it is malformed."""
        record = read_record(payload)
        self.apply(record)
        return record

    def _propose(self, promotion: Promotion) -> None:
        if promotion.id in self._known:
            return
        self._known.add(promotion.id)
        last_us = max((known.effective_from_us for known in [*self._holding, *self._undecided.values()]), default=None)
        if last_us is None or promotion.effective_from_us > last_us:
            self._undecided[promotion.id] = promotion
            self._accepted[promotion.id] = set()
        else:
            self._untimely[promotion.id] = promotion, last_us
            self._refused[promotion.id] = Refusal(_too_late(promotion, last_us), last_us)

    def _vote(self, record: Record, name: str, partition: int) -> None:
        if record["kind"] == REFUSAL:
            self._untimely.pop(name, None)
            promotion = self._undecided.pop(name, None)
            if promotion is not None:
                reached_us = record.get("watermark_us")
                late = type(reached_us) is int and reached_us >= promotion.effective_from_us
                self._refused[name] = Refusal(
                    str(record.get("reason", "no reason given")), reached_us if late else None
                )
        elif name in self._undecided:
            self._accepted[name].add(partition)
            if len(self._accepted[name]) == self._partitions:
                self._holding.append(self._undecided.pop(name))
                self._holding.sort(key=lambda promotion: promotion.effective_from_us)

    @property
    def holding(self) -> Sequence[Promotion]:
        """Promotions that hold, by their time."""
        return self._holding

    def to_vote(self, partition: int) -> list[Promotion]:
        """Undecided promotions this partition has not voted on."""
        return [known for known in self._undecided.values() if partition not in self._accepted[known.id]]

    @property
    def untimely(self) -> list[tuple[Promotion, int]]:
        """Promotions void from the start without a recorded refusal, each with the time it had to lie after."""
        return list(self._untimely.values())

    @property
    def bound_us(self) -> int | None:
        """No row at or beyond this event time may be scored yet; None where nothing is undecided."""
        return min((known.effective_from_us for known in self._undecided.values()), default=None)

    def decision(self, promotion_id: str) -> Decision:
        """What is decided of a promotion; one that is not in the log waits for every partition."""
        if promotion_id in self._refused:
            return Decision(refusal=self._refused[promotion_id])
        missing = set(range(self._partitions)) - self._accepted.get(promotion_id, set())
        return Decision(holds=not missing, missing=tuple(sorted(missing)))

    def model_index(self, end_ts_us: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """(n,) int64: per row, how many promotions hold for it. 0 is the first model, i is `holding[i - 1]`."""
        times = np.array([promotion.effective_from_us for promotion in self._holding], dtype=np.int64)
        return np.searchsorted(times, end_ts_us, side="right").astype(np.int64)


def read_record(payload: bytes | None) -> Record:
    """A message of `models` as a record; BadData where it is no JSON object."""
    try:
        record = orjson.loads(payload or b"")
    except orjson.JSONDecodeError as error:
        raise BadData(f"record of models: got no JSON ({error}), expected a JSON object") from error
    if not isinstance(record, dict):
        raise BadData(f"record of models: got {type(record).__name__}, expected a JSON object")
    return record


def ledger_of(payloads: Iterable[bytes | None], partitions: int) -> PromotionLedger:
    """What the messages of `models` amount to; malformed ones are ignored."""
    ledger = PromotionLedger(partitions)
    for payload in payloads:
        try:
            ledger.apply_payload(payload)
        except BadData:
            continue
    return ledger


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
    too_late = reached_us >= promotion.effective_from_us
    reason = _too_late(promotion, reached_us, partition) if too_late else unusable
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


def _too_late(promotion: Promotion, reached_us: int, partition: int | None = None) -> str:
    where = "" if partition is None else f" (partition {partition})"
    return (
        f"too late: it holds from {promotion.effective_from_us}, but rows up to {reached_us} are scored or an earlier "
        f"promotion holds from there{where}; issue it again with a later time"
    )


def _text(record: Record, name: str) -> str:
    value = record.get(name)
    if not isinstance(value, str) or not value:
        raise _malformed(record, name, "a text")
    return value


def _whole(record: Record, name: str, first: int, end: int) -> int:
    value = record.get(name)
    if type(value) is not int or not first <= value < end:  # True is an int to isinstance
        raise _malformed(record, name, f"a whole number from {first} to {end - 1}")
    return value


def _malformed(record: Record, name: str, expected: str) -> BadData:
    got = repr(record.get(name))[:200]
    return BadData(f"record of models: {str(record.get('kind'))[:50]}: {name}: got {got}, expected {expected}; ignored")
