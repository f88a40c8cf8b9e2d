"""What a finished run amounts to: labels joined to what the stages published, and the figures from both."""

from pathlib import Path
from typing import Any

import numpy as np

from loadtest.plants.westermo import traffic
from pipeline.contracts.incident_joining import joined, uid_of
from pipeline.settings import Settings
from pipeline.tools.alerts.incidents import says
from pipeline.tools.demo import picture
from pipeline.tools.demo.report import Finding, Incident, Member, findings, percentiles, summary
from pipeline.tools.demo.watch import SeenAlert, Watch

EVENT_SPAN_US = max(event.end_us for event in traffic.events()) - traffic.CUT_US


def traffic_file(folder: Path, sensor: str) -> Path:
    """Where the sensor's records lie."""
    return folder / "traffic" / f"{sensor}.csv"


def incidents_of(folder: Path, watch: Watch) -> list[Incident]:
    """The incidents with their flows' labels, found by `source_record` for the first time here."""
    labels = {sensor: traffic.labels(traffic_file(folder, sensor)) for sensor in traffic.SENSORS}
    times = {sensor: traffic.times_us(traffic_file(folder, sensor)) for sensor in traffic.SENSORS}
    result: list[Incident] = []
    for incident in joined(alert.document for alert in watch.alerts.values()):
        if incident.is_notice:
            continue
        members = tuple(
            Member(
                labels[about["sensor"]][record],
                start_us,
                end_us,
                uid_of(alert),
                about["opened_ts_us"],
            )
            for alert in incident.alerts
            for about in (alert["unmapped"],)
            for *_, record in about["members"]
            if record is not None
            for start_us, end_us in (times[about["sensor"]][record],)
        )
        start_us = min(alert["start_time"] for alert in incident.alerts) * 1_000
        sensors = tuple(incident.flows_at)
        result.append(
            Incident(incident.uid, sensors, says(incident), start_us, incident.last_us, members, incident.is_page)
        )
    return sorted(result, key=lambda incident: incident.start_us)


def alert_latency_ms(watch: Watch, alert: SeenAlert) -> float | None:
    """From the last flow an incident needed to open, as sent, to its first revision seen here."""
    sent_us = [
        watch.sent_at_us[partition, offset, index]
        for partition, offset, index, _ in alert.opened_with
        if (partition, offset, index) in watch.sent_at_us
    ]
    return alert.first_seen_s * 1e3 - max(sent_us) / 1e3 if sent_us else None


def assess(
    folder: Path, speed: float, watch: Watch, verified: dict[str, Any], sent: dict[str, int], settings: Settings
) -> tuple[dict[str, Any], list[Finding], list[Incident]]:
    """The final document, and what the picture and the tables show."""
    incidents = incidents_of(folder, watch)
    event_findings = findings(traffic.events_after_cut(), incidents)
    totals = {name: sum(row[name] for row in verified["sensors"]) for name in ("accepted", "rejected", "late")}
    accounting = {"sent": sum(sent.values()), **totals, "archived": sum(totals.values())}
    scores = {sensor: watch.sensors[sensor].series() for sensor in sorted(watch.sensors)}
    image = folder / "timeline.png"
    benign = [event for event in traffic.events_after_cut() if event.kind == "benign"]
    picture.timeline(image, traffic.CUT_US, scores, event_findings, benign, incidents)
    latency = np.concatenate(watch.latency_ms) if watch.latency_ms else np.empty(0)
    first = [alert_latency_ms(watch, alert) for alert in watch.alerts.values()]
    return (
        {
            **summary(event_findings, incidents, accounting, EVENT_SPAN_US / 3.6e9),
            "accounting_exact": verified["ok"] and accounting["archived"] == accounting["sent"],
            "latency_ms": percentiles(latency),
            "alert_latency_ms": percentiles(np.asarray([each for each in first if each is not None])),
            "lateness_ms": settings.lateness_of(traffic.SITE) / 1e3,
            "speed": speed,
            "sensors": verified["sensors"],
            "archive": settings.archive_uri,
            "picture": str(image),
            "logs": str(folder / "logs"),
            "traces": str(settings.trace_file),
        },
        event_findings,
        incidents,
    )
