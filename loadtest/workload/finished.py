"""A run that is over: what was to be sent, what was, and what came of it."""

from collections.abc import Sequence
from dataclasses import dataclass

from loadtest.workload.scenario import LoadScenario
from loadtest.workload.schedule import Schedule
from loadtest.workload.sender import SentLoad
from loadtest.workload.streams import Stream
from loadtest.workload.watcher import Seen

Series = Sequence[tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Finished:
    """A run that is over. acknowledged: (clock in us, records that Kafka had taken).

    learning_s: for how much event time its sensors learn, at least and at most, where the run has set it.
    """

    scenario: LoadScenario
    streams: list[Stream]
    schedule: Schedule
    sent: SentLoad
    seen: Seen
    acknowledged: Series
    warm_up_us: int = 0
    learning_s: tuple[int, int] | None = None

    @property
    def ran_us(self) -> int:
        """For how long records were due: all of the time, or until it was stopped."""
        ran_us = self.sent.ended_us - self.schedule.start_us
        return self.schedule.duration_us if self.sent.finished else min(max(0, ran_us), self.schedule.duration_us)
