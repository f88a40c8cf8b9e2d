"""The demo's report for people, on stderr."""

from collections import Counter
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from loadtest.plants.westermo import traffic
from pipeline.tools.alerts.filters import PAGE, kind_of
from pipeline.tools.alerts.incidents import Document
from pipeline.tools.alerts.lines import LINE_WIDTH, list_lines
from pipeline.tools.demo.report import Finding, Incident


def show(console: Console, document: dict[str, Any], findings: list[Finding], incidents: list[Incident]) -> None:
    """The report for people, on stderr."""
    books = Table(title="Every record is accounted for", title_justify="left", box=None)
    for name in ("sensor", "sent", "accepted", "rejected", "late", "archived"):
        books.add_column(name, justify="left" if name == "sensor" else "right")
    for row in document["sensors"]:
        archived = row["accepted"] + row["rejected"] + row["late"]
        cells = (row["sent"], row["accepted"], row["rejected"], row["late"], archived)
        books.add_row(row["sensor"], *(f"{cell:,}" for cell in cells))
    console.print(books)

    events = Table(title="\nThe plant's own event log, after the cut", title_justify="left", box=None)
    for name, justify in (("minute", "right"), ("event", "left"), ("", "left"), ("after", "right"), ("what", "left")):
        # Only the last one gives way where the terminal is narrow.
        events.add_column(name, justify=justify, no_wrap=name != "what")  # type: ignore[arg-type]
    for finding in findings:
        verdict = (
            "[green]found[/]"
            if finding.found
            else ("[red]missed[/]" if finding.event.kind == "attack" else "[yellow]missed[/]")
        )
        delay = "" if finding.delay_s is None else f"{finding.delay_s:.1f} s"
        minute = (finding.event.start_us - traffic.CUT_US) / 60e6
        name, what = finding.event.name.removeprefix("BAD-"), finding.event.text[: max(20, console.width - 50)]
        events.add_row(f"{minute:.1f}", name, verdict, delay, escape(what))
    console.print(events)

    false = [incident for incident in incidents if incident.false]
    attacks = document["events_found"] + document["events_missed"]
    faults = document["faults_found"] + document["faults_missed"]
    console.print(
        f"\n[bold]{document['events_found']}[/] of {attacks} attacks and "
        f"[bold]{document['faults_found']}[/] of {faults} faults found, in "
        f"{document['incidents']} incidents, {document['pages']} of them pages, {document['several_sensors']} seen by "
        "both sensors; "
        f"[bold]{len(false)}[/] false ({document['false_alerts_per_hour']} an hour)"
    )
    for incident in false:
        console.print(f"  false, minute {(incident.start_us - traffic.CUT_US) / 60e6:.1f}, {escape(incident.title)}")
    latency, alert = document["latency_ms"], document["alert_latency_ms"]
    console.print(
        f"sent to scored: p50 {latency['p50']:.0f} ms, p99 {latency['p99']:.0f} ms; last flow needed to alert: "
        f"p50 {alert['p50']:.0f} ms, p99 {alert['p99']:.0f} ms (at {document['speed']:g} times real time, "
        f"lateness {document['lateness_ms'] / 1e3:g} s of event time)"
    )
    console.print(f"archive  {document['archive']}\npicture  {document['picture']}\nlogs     {document['logs']}")


def show_incidents(console: Console, incidents: list[Document]) -> None:
    """The pages as `alert list` has them, and how many others there are."""
    counts = Counter(map(kind_of, incidents))
    console.print(f"\n{counts[PAGE]} incidents to look at now, of {len(incidents)}; the others are for review")
    pages = [incident for incident in incidents if kind_of(incident) == PAGE]
    for line in list_lines(pages, console.width if console.is_terminal else LINE_WIDTH):
        console.print(line, soft_wrap=True)
