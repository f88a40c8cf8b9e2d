"""Alerts for people: one line, or a page. What came from the network is made printable once more before it is shown."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from rich.table import Table
from rich.text import Text

from pipeline.alert.pages import PAGE
from pipeline.runtime.terminal import printable

STYLE = {"Critical": "bold white on red", "High": "bold red", "Medium": "yellow", "Low": "cyan", "Informational": "dim"}
MAX_TEXT = 400
SHOWN_MEMBERS = 10
WORD = {1: "new", 2: "goes on", 3: "ended"}


def shown(value: object) -> str:
    """A value as text that is safe to show."""
    return printable(str(value), MAX_TEXT)


def moment(time_ms: int) -> str:
    """A time in UTC, to the millisecond."""
    return (
        datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(sep=" ", timespec="milliseconds").replace("+00:00", "Z")
    )


def techniques(alert: Mapping[str, Any]) -> str:
    """The candidate techniques, most exact id first."""
    named = []
    for attack in alert.get("attacks", []):
        technique = attack.get("sub_technique") or attack["technique"]
        named.append(f"{technique['uid']} {technique['name']}")
    return shown(", ".join(named))


def why(alert: Mapping[str, Any]) -> list[str]:
    """The reasons in plain words, strongest first."""
    return [shown(reason["says"]) for reason in alert["unmapped"].get("reasons", [])]


def line(alert: Mapping[str, Any]) -> Text:
    """One alert in one line: when, how bad, what, which technique, why, and its uid to ask for more."""
    severity = shown(alert.get("severity", "?"))
    text = Text()
    text.append(moment(alert["time"]), style="dim")
    text.append(f" {severity:<8} ", style=STYLE.get(severity, ""))
    text.append(f"{WORD.get(alert['activity_id'], '?'):<7} ", style="dim")
    text.append(f"{shown(alert['unmapped'].get('disposition', '?')):<6} ", style="bold" if is_page(alert) else "dim")
    text.append(shown(alert["message"]))
    if alert.get("attacks"):
        text.append(f"  {techniques(alert)}", style="magenta")
    for reason in [reason for reason in why(alert) if reason not in alert["message"]][:1]:
        text.append(f"  {reason}", style="green")
    text.append(f"  {shown(alert['finding_info']['uid'])[:12]}", style="dim")
    return text


def page(alert: Mapping[str, Any]) -> list[Text | Table]:
    """All that is known of one alert, for the person on shift."""
    about = alert["unmapped"]
    info = alert["finding_info"]
    severity = shown(alert.get("severity", "?"))
    parts: list[Text | Table] = [
        Text.assemble((f" {severity} ", STYLE.get(severity, "")), " ", (shown(info["title"]), "bold")),
        Text(shown(alert["message"])),
        Text(""),
    ]
    if is_notice(alert):
        return [*parts, *_notice(about)]
    parts += [_facts(alert), Text("")]
    if about.get("reasons"):
        parts += [Text("What is unusual", style="bold"), _reasons(about["reasons"]), Text("")]
    else:
        parts += [Text(f"No reasons: {_unexplained(about)}.", style="dim"), Text("")]
    parts += [Text("Who with whom", style="bold"), _talks(alert["evidences"]), Text("")]
    members = about["members"]
    listed = f"Flows (partition, offset, index in raw; position in the file), {len(members)} listed"
    more = " …" if len(members) > SHOWN_MEMBERS else ""
    parts += [
        Text(listed, style="bold"),
        Text(", ".join(shown(member) for member in members[:SHOWN_MEMBERS]) + more),
        Text(""),
        Text(f"forebay alert verdict {shown(info['uid'])[:12]} --verdict tp|fp|benign|test|duplicate --by YOU"),
    ]
    return parts


def is_page(alert: Mapping[str, Any]) -> bool:
    """Whether somebody should look now; an alert of a version before pages is one that nobody has held back."""
    return bool(alert["unmapped"].get("disposition", PAGE) == PAGE)


def is_notice(alert: Mapping[str, Any]) -> bool:
    """Whether it is a notice of a sensor's baseline, which has no flows, and no attack's name."""
    return "notice" in alert["unmapped"]


def _notice(about: Mapping[str, Any]) -> list[Text | Table]:
    """What a notice is about, and where to see more."""
    lines = [Text(shown(line)) for line in about["notice"]["lines"]]
    return [*lines, Text(""), Text(f"forebay sensor show {shown(about['site'])}/{shown(about['sensor'])}")]


def _unexplained(about: Mapping[str, Any]) -> str:
    if about.get("feature_set") is None:
        return "the model's manifest is not in the registry"
    return "the model is not calibrated for this sensor, so what is usual there is not known"


def _facts(alert: Mapping[str, Any]) -> Table:
    about, info = alert["unmapped"], alert["finding_info"]
    table = Table.grid(padding=(0, 2))
    rows = {
        "uid": f"{info['uid']} revision {alert['metadata']['sequence']}, {WORD.get(alert['activity_id'], '?')}",
        "where": f"site {about['site']}, sensor {about['sensor']}",
        "from": moment(alert["start_time"]),
        "to": moment(alert["end_time"]),
        **({"disposition": f"{about['disposition']}: {about['disposition_says']}"} if "disposition" in about else {}),
        "flows": f"{alert['count']:,} ({about.get('late', 0)} late)",
        "class": _counted(about.get("classes", {})),
        **({"nearest to": _counted(nearest)} if (nearest := about.get("nearest_classes")) else {}),
        "confidence": f"{alert['confidence_score']} of 100; lowest p-value {about.get('lowest_p_value', 1):.2g}",
        "model": about["model"],
        "techniques": techniques(alert) + " (candidates)" if alert.get("attacks") else "none",
    }
    for name, value in rows.items():
        table.add_row(Text(name, style="dim"), Text(shown(value)))
    return table


def _counted(classes: Mapping[str, int]) -> str:
    """Classes with their numbers of flows."""
    return ", ".join(f"{name} {count}" for name, count in sorted(classes.items()))


def _reasons(reasons: list[Mapping[str, Any]]) -> Table:
    table = Table("feature", "says", "flows", box=None, padding=(0, 2, 0, 0), header_style="dim")
    for reason in reasons:
        share = f"{reason['share'] * 100:.0f} %"
        table.add_row(Text(shown(reason["feature"])), Text(shown(reason["says"])), Text(share))
    return table


def _talks(evidences: list[Mapping[str, Any]]) -> Table:
    table = Table("from", "to", "port", "protocol", "flows", box=None, padding=(0, 2, 0, 0), header_style="dim")
    for evidence in evidences:
        source, target = evidence["src_endpoint"], evidence["dst_endpoint"]
        cells = (
            source.get("ip", source.get("name", "?")),
            target.get("ip", target.get("name", "?")),
            target.get("port", "-"),
            evidence["connection_info"].get("protocol_name", "-"),
            evidence.get("data", {}).get("flows", "-"),
        )
        table.add_row(*(Text(shown(cell)) for cell in cells))
    return table
