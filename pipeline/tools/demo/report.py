"""What the demo found, measured against the plant's own event log: pure functions on what was recorded."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from loadtest.plants.westermo.traffic import Event


@dataclass(frozen=True, slots=True)
class Member:
    """A flow that an incident holds: its label (joined by `source_record`), its event times, the alert that has it, and
    when that had enough suspects to be one.
    """

    label: str
    start_us: int
    end_us: int
    alert: str = ""
    opened_us: int = 0


@dataclass(frozen=True, slots=True)
class Incident:
    """An incident as the alerts topic has it at last, with what several sensors saw of it joined."""

    uid: str
    sensors: tuple[str, ...]
    title: str
    start_us: int
    end_us: int
    members: tuple[Member, ...]
    is_page: bool = False

    @property
    def false(self) -> bool:
        """Whether one of its alerts holds no flow of any attack or fault."""
        true = {member.alert for member in self.members if member.label.startswith("BAD-")}
        return not self.members or any(member.alert not in true for member in self.members)


@dataclass(frozen=True, slots=True)
class Finding:
    """One event, found or missed: by which incidents, and how long after its start."""

    event: Event
    incidents: tuple[str, ...]
    delay_s: float | None

    @property
    def found(self) -> bool:
        """Whether some incident holds a flow labelled with it inside its window."""
        return self.delay_s is not None


def findings(events: Sequence[Event], incidents: Sequence[Incident]) -> list[Finding]:
    """Each event with the incidents that hold a flow labelled with it inside its window."""
    result: list[Finding] = []
    for event in events:
        if event.kind == "benign":
            continue
        hits: list[tuple[int, str]] = []
        for incident in incidents:
            # Nobody knew before the alert was out: a first suspect may wait for company.
            seen = [
                max(member.end_us, member.opened_us)
                for member in incident.members
                if member.label == event.name and member.end_us >= event.start_us and member.start_us <= event.end_us
            ]
            if seen:
                hits.append((min(seen), incident.uid))
        delay_s = max(0.0, (min(at for at, _ in hits) - event.start_us) / 1e6) if hits else None
        result.append(Finding(event, tuple(uid for _, uid in sorted(hits)), delay_s))
    return result


def percentiles(values: npt.NDArray[np.float64]) -> dict[str, float]:
    """p50 and p99 of latencies; both 0 where there is nothing."""
    if values.size == 0:
        return {"p50": 0.0, "p99": 0.0}
    p50, p99 = np.percentile(values, [50, 99])
    return {"p50": round(float(p50), 1), "p99": round(float(p99), 1)}


def summary(
    findings: Sequence[Finding],
    incidents: Sequence[Incident],
    accounting: Mapping[str, int],
    event_hours: float,
) -> dict[str, object]:
    """The figures of the final JSON that come from counting."""
    attacks = [finding for finding in findings if finding.event.kind == "attack"]
    faults = [finding for finding in findings if finding.event.kind == "fault"]
    false = [incident for incident in incidents if incident.false]
    delays = [finding.delay_s for finding in attacks if finding.delay_s is not None]
    return {
        **accounting,
        "alerts": len({member.alert for incident in incidents for member in incident.members}),
        "incidents": len(incidents),
        "several_sensors": sum(len(incident.sensors) > 1 for incident in incidents),
        "pages": sum(incident.is_page for incident in incidents),
        "events_found": sum(finding.found for finding in attacks),
        "events_missed": sum(not finding.found for finding in attacks),
        "faults_found": sum(finding.found for finding in faults),
        "faults_missed": sum(not finding.found for finding in faults),
        "false_alerts": len(false),
        "false_alerts_per_hour": round(len(false) / event_hours, 2) if event_hours else 0.0,
        "detection_delay_s": {
            "median": round(float(np.median(delays)), 2) if delays else None,
            "max": round(max(delays), 2) if delays else None,
        },
    }
