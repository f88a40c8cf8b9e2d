"""How far the event time of each of k sensors has come: its latest end, its watermark, and the lateness between them.

A sensor's watermark is the latest end time seen minus its lateness, and never goes back: what it has passed may have
been released. The lateness is what the sensor's messages state (contracts/lateness.py), flow by flow, so that nothing
depends on how the log was cut into messages; where they state none it is the site's.

One sensor, the site's lateness 2 s, three flows of which the second is of a message that states 5 s:

    end         10 s  11 s  20 s
    states      none   5 s  none
    watermark      -   8 s   8 s    when the flow came: 10 s - 2 s; then 11 s - 5 s would be 6 s, which is passed
    holds        2 s   5 s   5 s    after it: the larger; a smaller one not before event time is an hour on
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pipeline.contracts import lateness
from pipeline.contracts.lateness import NEVER_US, UNSTATED_US
from pipeline.featurize.compiled import compiled

Ints = npt.NDArray[np.int64]

NO_WATERMARK = NEVER_US
# Columns of clocks (k, 5).
LATEST, PASSED, SITE, STATED, STATED_AT = range(5)

_takes_over = compiled(lateness.takes_over)


class Clock(NamedTuple):
    """One sensor's clock.

    latest_us: latest end time seen, or NO_WATERMARK; passed_us: how far the watermark has come, where that is known;
    stated_us: the lateness that its messages state and that holds, or UNSTATED_US; stated_at_us: the latest end time
    when it was stated last, or NO_WATERMARK.
    """

    latest_us: int = NO_WATERMARK
    passed_us: int = NO_WATERMARK
    stated_us: int = UNSTATED_US
    stated_at_us: int = NO_WATERMARK

    def lateness_us(self, site_us: int) -> int:
        """What holds now, of a site whose lateness is `site_us`."""
        return site_us if self.stated_us == UNSTATED_US else self.stated_us

    def watermark_us(self, site_us: int) -> int:
        """The watermark now, or NO_WATERMARK where no flow has come."""
        if self.latest_us == NO_WATERMARK:
            return NO_WATERMARK
        return max(self.passed_us, self.latest_us - self.lateness_us(site_us))

    def passed(self, until_us: int) -> "Clock":
        """The same, with a watermark that has passed that time."""
        return self._replace(passed_us=max(self.passed_us, until_us))


def clocks_of(clocks: Sequence[Clock], site_us: Sequence[int]) -> Ints:
    """(k, 5) the clocks of k sensors, of sites whose lateness is this."""
    rows = [
        (clock.latest_us, clock.passed_us, of_site, clock.stated_us, clock.stated_at_us)
        for clock, of_site in zip(clocks, site_us, strict=True)
    ]
    return np.array(rows, np.int64).reshape(len(rows), 5)


def clocks_in(clocks: Ints) -> list[Clock]:
    """The clocks of k sensors, of (k, 5)."""
    return [Clock(latest, passed, stated, at) for latest, passed, _, stated, at in clocks.tolist()]


@compiled
def run_clocks(new_end: Ints, stated: Ints, bounds: Ints, clocks: Ints, watermark: Ints) -> None:
    """Take new flows, each sensor's between bounds (k + 1,), through clocks (k, 5), which are written to.

    stated (n,): the lateness that each flow's message states, or UNSTATED_US. watermark (n,) is filled with what the
    watermark was when each flow came.
    """
    for sensor in range(len(clocks)):
        latest, passed, site = clocks[sensor, LATEST], clocks[sensor, PASSED], clocks[sensor, SITE]
        holds, at = clocks[sensor, STATED], clocks[sensor, STATED_AT]
        late = site if holds == UNSTATED_US else holds
        if latest > NO_WATERMARK:
            passed = max(passed, latest - late)
        for row in range(bounds[sensor], bounds[sensor + 1]):
            watermark[row] = passed
            before, latest = latest, max(latest, new_end[row])
            says = stated[row]
            if says != UNSTATED_US or at > NO_WATERMARK:
                if at == NO_WATERMARK and before > NO_WATERMARK:  # flows that state none came first: as if they had
                    holds, at = site, before
                says_us = site if says == UNSTATED_US else says
                if _takes_over(says_us, late, at, latest):
                    holds, late, at = says, says_us, latest
            passed = max(passed, latest - late)
        clocks[sensor, LATEST], clocks[sensor, PASSED] = latest, passed
        clocks[sensor, STATED], clocks[sensor, STATED_AT] = holds, at
