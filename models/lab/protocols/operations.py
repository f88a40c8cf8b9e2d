"""What a threshold means to the people at the plant: events found, how soon, and false alarms a day."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from models.lab.tables.table import Table
from models.rows import Doubles
from models.training.evaluate import Stretch

DAY_US = 86_400_000_000
DECISION = 0.01  # the nominal false positive rate that the report shows first
GRACE_US = 500_000  # a flow record covers up to half a second: one that starts inside an event may end just after it


@dataclass(frozen=True, slots=True)
class Operations:
    """How a test table with times is judged beside its records: by events and by days.

    Attributes
    ----------
    days : how much time the table covers
    stretches : the attacks that should be found, in the table's own clock
    """

    days: float
    stretches: tuple[Stretch, ...] = ()

    def figures(self, table: Table, score: Doubles, thresholds: Mapping[float, float]) -> dict[str, Any]:
        """Events, detection delay and false alarms at the threshold nearest to nominal 1 %; a line for each other.

        An event is found if a suspect record of its own label ends inside it. A false alarm is a normal record that
        is a suspect; those of one minute are also counted as one, which is nearer to what a person is shown.
        """
        nominal = min(thresholds, key=lambda rate: abs(rate - DECISION))
        everywhere = {f"{rate:g}": self._at(table, score > threshold) for rate, threshold in thresholds.items()}
        brief = {
            rate: {
                "found": sum(event["found"] for event in at_rate["events"]),
                "of": len(at_rate["events"]),
                "false_alarms_per_day": at_rate["false_alarms_per_day"],
                "false_alarm_minutes_per_day": at_rate["false_alarm_minutes_per_day"],
            }
            for rate, at_rate in everywhere.items()
        }
        return {"nominal": nominal, "days": self.days, **everywhere[f"{nominal:g}"], "by_nominal": brief}

    def _at(self, table: Table, suspect: Any) -> dict[str, Any]:
        false = table.time_us[suspect & ~table.attack]
        return {
            "events": [_event(stretch, table, suspect) for stretch in self.stretches],
            "false_alarms_per_day": len(false) / self.days,
            # Minutes that are cut off at either end of a short table would make more than a day has.
            "false_alarm_minutes_per_day": min(len(np.unique(false // 60_000_000)) / self.days, 1440.0),
        }


NOWHERE: Mapping[str, Operations] = MappingProxyType({})


def days_between(table: Table) -> float:
    """Days from a table's first record to its last, at least a second."""
    return max(int(table.time_us.max() - table.time_us.min()), 1_000_000) / DAY_US


def _event(stretch: Stretch, table: Table, suspect: Any) -> dict[str, Any]:
    inside = (table.time_us >= stretch.start_us) & (table.time_us <= stretch.end_us + GRACE_US)
    matching = inside & (table.label == stretch.label)
    hits = table.time_us[matching & suspect]
    return {
        "event": stretch.name,
        "kind": stretch.kind,
        "start_us": stretch.start_us,
        "records": int(matching.sum()),  # none: this sensor could not have seen it
        "found": bool(len(hits)),
        "delay_s": (int(hits.min()) - stretch.start_us) / 1e6 if len(hits) else None,
    }
