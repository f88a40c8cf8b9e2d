"""Which incidents page somebody, and which are for review: by level, by what was there before, and by a budget.

State of one sensor, in event time, whole numbers only. It is asked when an incident opens and when one rises a level,
in the order of the sensor's clock, so the answers are the same for any batching.
"""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from pipeline.alert.levels import CERTAIN, CLEAR, FAINT, HARDWARE, LEVEL_NAMES, Sign, grown
from pipeline.alert.wording import duration, printable_name
from schemas.pages import Pages

PAGE, REVIEW = "page", "review"
NEW, CERTAIN_EVIDENCE = "new", "certain"
SAME, WEAK, BUDGET, BOUND = "same again", "weak", "budget", "bound"
NOTICE_REASON = "notice"
REASONS = (NEW, CERTAIN_EVIDENCE, SAME, WEAK, BUDGET, BOUND, NOTICE_REASON)

DAY_US = 86_400_000_000
"""A token: event time in microseconds times pages a day."""
HOUR_US = 3_600_000_000
AGAIN_US = 30 * HOUR_US
"""A day and a quarter: what comes every night comes a few minutes late, and is the same again."""
MAX_ENTRIES = 256
CERTAIN_TIMES = 10
"""What is certain has a budget of its own, so many times as large: no flood of weaker incidents uses it up."""
SHOWN_UID = 12


class Occasion(NamedTuple):
    """An incident that opens or rises a level: by which flow it is judged.

    level: of the incident, by the number of its flows too; of_flow: of that flow alone. flows: how many there are that
    were not judged yet.
    """

    uid: str
    clock_us: int
    sign: Sign
    level: int
    of_flow: int
    flows: int


class Disposition(NamedTuple):
    """Whether an incident pages, and why, in a word and in a sentence; its level so far; and the level and the actor of
    the flow by which that was decided.
    """

    disposition: str
    reason: str
    says: str
    level: int
    of_flow: int = FAINT
    actor: str = ""

    def is_outdone(self, occasion: Occasion) -> bool:
        """Whether a page pages again: for what is certain and stronger than it, or than the flow of another actor."""
        other = occasion.sign.actor != self.actor and occasion.of_flow > self.of_flow
        return occasion.of_flow >= CERTAIN and (occasion.of_flow > self.level or other)


NOT_JUDGED = Disposition(REVIEW, WEAK, "not judged yet", FAINT)
OPENED_BEFORE = Disposition(PAGE, NEW, "opened by a version that held nothing back", CLEAR)


@dataclass(slots=True)
class Entry:
    """What is known of an actor or device: how many flows it had since `since_us`; the level at which it paged last, -1
    for never, in which incident and when; and when it was as strong last.
    """

    since_us: int
    flows: int = 0
    level: int = -1
    uid: str = ""
    paged_us: int = 0
    last_us: int = 0

    def page(self, uid: str, level: int, clock_us: int) -> None:
        """Note a page."""
        self.uid, self.level, self.paged_us, self.last_us = uid, level, clock_us, clock_us


@dataclass(slots=True)
class Bucket:
    """A token bucket at a time; a token is DAY_US."""

    tokens: int
    at_us: int

    def refill(self, clock_us: int, a_day: int, most: int) -> None:
        """Add what came in until a time; where the next file of a source lies earlier, nothing."""
        self.tokens = min(self.tokens + max(clock_us - self.at_us, 0) * a_day, most * DAY_US)
        self.at_us = clock_us

    def draw(self, least: int) -> bool:
        """Take a token where so many are left."""
        if self.tokens < least * DAY_US:
            return False
        self.tokens -= DAY_US
        return True


@dataclass(slots=True)
class SensorPages:
    """A sensor's budget, its reserve for what is certain, and what it was paged for, seen longest ago first.

    A sensor starts with a single page, not with all that quiet days save up: it meets most of what is new at first.
    """

    budget: Bucket | None = None
    reserve: Bucket | None = None
    entries: dict[str, Entry] = field(default_factory=dict)

    @property
    def judged_us(self) -> int:
        """When its budget was asked last, 0 for never."""
        return 0 if self.budget is None else self.budget.at_us

    def judge(self, occasion: Occasion, pages: Pages) -> Disposition:
        """Whether an incident pages; one that does is noted."""
        clock_us, sign = occasion.clock_us, occasion.sign
        entries = self._entries(occasion)
        # Faint evidence adds up within an incident alone: an outage makes a lot of it.
        level = occasion.level
        if occasion.of_flow > FAINT and sign.kind != HARDWARE:
            level = max(level, grown(occasion.of_flow, entries[0].flows))
        for entry, who in zip(entries, (sign.actor, sign.device), strict=False):
            if entry.level >= level and abs(clock_us - entry.last_us) <= AGAIN_US:
                says = _same(who, entry, clock_us)
                # What is weaker does not prolong for how long the stronger is the same again.
                entry.last_us = clock_us if entry.level == level else entry.last_us
                return Disposition(REVIEW, SAME, says, level, occasion.of_flow, sign.actor)
        decided = Disposition(*self._draw(level, clock_us, pages), level, occasion.of_flow, sign.actor)
        if decided.disposition == PAGE:
            for entry in entries:
                entry.page(occasion.uid, level, clock_us)
        return decided

    def rise(self, occasion: Occasion) -> None:
        """Note that an incident that pages already has risen a level."""
        for entry in self._entries(occasion):
            if occasion.level >= entry.level or abs(occasion.clock_us - entry.last_us) > AGAIN_US:
                entry.page(occasion.uid, occasion.level, occasion.clock_us)

    def _entries(self, occasion: Occasion) -> list[Entry]:
        """The entries of the actor and of the device with the flows that come to them, new ones where there is none."""
        clock_us, found = occasion.clock_us, []
        for key in _keys(occasion.sign):
            entry = self.entries.pop(key, None) or Entry(clock_us)
            if abs(clock_us - entry.since_us) > AGAIN_US:
                entry.since_us, entry.flows = clock_us, 0
            entry.flows += occasion.flows
            self.entries[key] = entry
            found.append(entry)
        while len(self.entries) > MAX_ENTRIES:
            del self.entries[next(iter(self.entries))]
        return found

    def _draw(self, level: int, clock_us: int, pages: Pages) -> tuple[str, str, str]:
        """Take a page from the budget of the level, if it has one left: disposition, reason, and a sentence."""
        certain_a_day = CERTAIN_TIMES * max(pages.a_day, 1)
        if self.budget is None or self.reserve is None:
            self.budget = Bucket(min(pages.a_day, 1) * DAY_US, clock_us)
            self.reserve = Bucket(certain_a_day * DAY_US, clock_us)
        self.budget.refill(clock_us, pages.a_day, pages.burst)
        self.reserve.refill(clock_us, certain_a_day, certain_a_day)
        name = LEVEL_NAMES[level]
        if level >= CERTAIN:
            if self.reserve.draw(1):
                return PAGE, CERTAIN_EVIDENCE, f"{name} evidence (by its kind or number) pages whatever the budget"
            says = f"even of certain evidence {certain_a_day} incidents a day page at most"
            return REVIEW, BOUND, says
        if level == FAINT:
            return REVIEW, WEAK, f"{name} evidence pages by its number of flows alone"
        least = 1 if level == CLEAR else pages.burst
        if self.budget.draw(least):
            return PAGE, NEW, f"{name} evidence, within {pages.a_day} a day"
        left = f"{self.budget.tokens * 10 // DAY_US / 10:g}"
        says = f"{name} evidence pages where the budget of {pages.a_day} a day has {least} left; it has {left}"
        return REVIEW, BUDGET, says


def _keys(sign: Sign) -> list[str]:
    actor = "\x1f".join(("actor", sign.kind, sign.actor))
    return [actor, f"device\x1f{sign.device}"] if sign.device else [actor]


def _same(who: str, entry: Entry, clock_us: int) -> str:
    apart_us = clock_us - entry.paged_us
    when = f"{duration(abs(apart_us))} {'before' if apart_us >= 0 else 'later'}"
    return f"incident {entry.uid[:SHOWN_UID]} {when} was about {printable_name(who)} too, and no weaker"


def as_document(pages: SensorPages) -> dict[str, Any]:
    """As JSON values, for the saved state."""
    buckets = {"budget": pages.budget, "reserve": pages.reserve}
    entries = [[key, *(getattr(entry, name) for name in Entry.__slots__)] for key, entry in pages.entries.items()]
    return {
        **{name: None if bucket is None else [bucket.tokens, bucket.at_us] for name, bucket in buckets.items()},
        "entries": entries,
    }


def of_document(document: dict[str, Any]) -> SensorPages:
    """What `as_document` wrote."""
    entries = {
        str(key): Entry(int(since_us), int(flows), int(level), str(uid), int(paged_us), int(last_us))
        for key, since_us, flows, level, uid, paged_us, last_us in document["entries"]
    }
    return SensorPages(_bucket(document["budget"]), _bucket(document["reserve"]), entries)


def _bucket(saved: list[int] | None) -> Bucket | None:
    return None if saved is None else Bucket(int(saved[0]), int(saved[1]))
