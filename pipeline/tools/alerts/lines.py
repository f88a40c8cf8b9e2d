"""Incidents for people: a line in a list, or a page. What came from the network is made printable once more."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from pipeline.contracts.incident_joining import JoinedIncident
from pipeline.contracts.notice_words import moment
from pipeline.contracts.notices import LONE
from pipeline.contracts.verdicts import VERDICTS
from pipeline.runtime.terminal import printable
from pipeline.tools.alerts.filters import REVIEW, SETTLED, SUPPRESSED, kind_of
from pipeline.tools.alerts.incidents import NOTICE, Document

STYLE = {"Critical": "bold white on red", "High": "bold red", "Medium": "yellow", "Low": "cyan", "Informational": "dim"}
SHORT = {"Informational": "Info"}
MAX_TEXT = 400
MAX_SAYS = 1_200
"""Of an incident's sentences, and who else saw it."""
SHOWN_MEMBERS = 10
SHOWN_ALERTS = 4
SHOWN_UID = 12
LINE_UID, LINE_WHERE, LINE_WIDTH = 8, 24, 120
WORD = {1: "new", 2: "goes on", 3: "ended"}


def shown(value: object) -> str:
    """A value as text that is safe to show."""
    return printable(str(value), MAX_TEXT)


def list_lines(documents: Sequence[Document], width: int = LINE_WIDTH, by_day: bool = True) -> Iterator[Text]:
    """A line each, in the order given; by_day: the date once, above those that went on last on that day.

    The site stands in a line only where there are several.
    """
    several, day = len({document["site"] for document in documents}) > 1, ""
    column = max((len(where(document, several)) for document in documents), default=0)
    for document in documents:
        last = moment(document["last_us"])
        if by_day and last[:10] != day:
            day = last[:10]
            yield Text(f"{day} (UTC)", style="bold")
        yield line(document, width, last[11:19] if by_day else last[:16], several, column)


def line(
    document: Document, width: int = LINE_WIDTH, when: str | None = None, with_site: bool = True, column: int = 0
) -> Text:
    """One incident in one line: uid, when it went on last, how bad, page or what else, where, and its title.

    column: least width of where.
    """
    severity = str(document["severity"])
    text = Text()
    text.append(f"{shown(document['uid'])[:LINE_UID]} ", style="cyan")
    text.append(f"{moment(document['last_us'])[:19] if when is None else when} ", style="dim")
    text.append(f"{printable(SHORT.get(severity, severity), 8):<8} ", style=STYLE.get(severity, ""))
    text.append(f"{_what(document):<7} ", style="bold" if document["page"] else "dim")
    text.append(f"{where(document, with_site):<{column}} ", style="dim")
    text.append(shown(document["says" if document["kind"] == NOTICE else "title"]))
    text.truncate(width, overflow="ellipsis")
    return text


def change_line(what: str, document: Document, width: int = LINE_WIDTH) -> Text:
    """The same as it comes: what there is to say of it first."""
    text = Text(f"{what:<7} ", style="bold" if document["page"] else "dim")
    return text + line(document, width - text.cell_len)


def where(document: Document, with_site: bool = True) -> str:
    """`plant/left+bottom`: the site and the sensors that saw it, the one that saw most first."""
    sensors = "+".join(document["sensors"])
    return printable(f"{document['site']}/{sensors}" if with_site else sensors, LINE_WHERE)


def _what(document: Document) -> str:
    kind = kind_of(document)
    if kind == SETTLED:
        return str(document["verdict"]["verdict"])[:7]
    return {SUPPRESSED: "suppr.", NOTICE: "notice", LONE: REVIEW}.get(kind, kind)


def page(incident: JoinedIncident, document: Document) -> list[Text | Table]:
    """All that is known of one incident, for the person on shift; of several alerts the first four."""
    severity = str(document["severity"])
    parts: list[Text | Table] = [
        Text.assemble((f" {shown(severity)} ", STYLE.get(severity, "")), " ", (shown(document["title"]), "bold")),
        Text(printable(str(document["says"]), MAX_SAYS)),
        Text(""),
    ]
    if incident.is_notice:
        return [*parts, *_notice(incident.alerts[0]["unmapped"])]
    parts += [_facts(incident, document), Text("")]
    for alert in incident.alerts[:SHOWN_ALERTS]:
        parts += _alert(alert, len(incident.alerts) > 1)
    if len(incident.alerts) > SHOWN_ALERTS:
        parts += [Text(f"and {len(incident.alerts) - SHOWN_ALERTS:,} more alerts; --json has them all"), Text("")]
    uid = shown(document["uid"])[:SHOWN_UID]
    return [*parts, Text(f"forebay alert verdict {uid} --verdict {'|'.join(VERDICTS)} --by YOU")]


def is_notice(alert: Mapping[str, Any]) -> bool:
    """Whether it is a notice of a sensor's baseline, which has no flows, and no attack's name."""
    return "notice" in alert["unmapped"]


def _alert(alert: Mapping[str, Any], is_one_of_several: bool) -> list[Text | Table]:
    """What one alert knows: its reasons, who with whom, its flows."""
    about, parts = alert["unmapped"], list[Text | Table]()
    if is_one_of_several:
        uid, state = shown(alert["finding_info"]["uid"])[:SHOWN_UID], WORD.get(alert["activity_id"], "?")
        head = f"At sensor {shown(about['sensor'])}: alert {uid}, revision {alert['metadata']['sequence']}, {state}"
        parts += [Text(head, style="bold"), Text(printable(str(alert["message"]), MAX_SAYS))]
    if about.get("reasons"):
        parts += [Text("What is unusual", style="bold"), _reasons(about["reasons"])]
    else:
        parts.append(Text(f"No reasons: {_unexplained(about)}.", style="dim"))
    members = about.get("members", [])
    more = " …" if len(members) > SHOWN_MEMBERS else ""
    listed = f"Flows (partition, offset, index in raw; position in the file), {len(members)} listed"
    return [
        *parts,
        Text(""),
        Text("Who with whom", style="bold"),
        _talks(alert["evidences"]),
        Text(""),
        Text(listed, style="bold"),
        Text(", ".join(shown(member) for member in members[:SHOWN_MEMBERS]) + more),
        Text(""),
    ]


def _notice(about: Mapping[str, Any]) -> list[Text | Table]:
    """What a notice is about, and where to see more."""
    if about["notice"].get("kind") == LONE:
        return [_lone(about["notice"]["flows"])]
    lines = [Text(shown(line)) for line in about["notice"]["lines"]]
    return [*lines, Text(""), Text(f"forebay sensor show {shown(about['site'])}/{shown(about['sensor'])}")]


def _lone(flows: Sequence[Mapping[str, Any]]) -> Table:
    """Suspects in no incident, a row each."""
    table = Table("when (UTC)", "what", "why", "p", "score", "raw; file", show_edge=False)
    for flow in flows:
        why = flow["reason"] or flow["name"]
        cells = moment(flow["at_us"])[:19], flow["says"], why, f"{flow['p_value']:.3g}", f"{flow['score']:.3f}"
        partition, offset, index, record = flow["position"]
        place = f"{partition}/{offset}/{index}" + (f"; {record}" if record is not None else "")
        table.add_row(*(Text(shown(cell)) for cell in (*cells, place)))
    return table


def _unexplained(about: Mapping[str, Any]) -> str:
    if about.get("feature_set") is None:
        return "the model's manifest is not in the registry"
    return "the model is not calibrated for this sensor, so what is usual there is not known"


def _facts(incident: JoinedIncident, document: Document) -> Table:
    lead = incident.lead
    about, sensors = lead["unmapped"], [f"{name} ({count:,})" for name, count in document["flows_at"].items()]
    verdict, suppressed = document["verdict"], document["suppressed"]
    revision = f", revision {lead['metadata']['sequence']}" if len(incident.alerts) == 1 else ""
    rows = {
        "uid": f"{document['uid']}{revision}, {document['state']}",
        "where": f"site {document['site']}, {'sensor' if len(sensors) == 1 else 'sensors'} {', '.join(sensors)}",
        "from": moment(incident.start_us),
        "to": moment(document["last_us"]),
        "disposition": f"{document['disposition']}: {document['disposition_says'] or 'not said'}",
        **({"verdict": _judged(verdict)} if verdict else {}),
        **({"suppressed": f"by verdict {suppressed['verdict_id']}: {_judged(suppressed)}"} if suppressed else {}),
        "flows": f"{document['flows']:,} ({document['late']} late)",
        "sources": _some(document["sources"]),
        "targets": _some(document["targets"], document["target_count"]),
        **{f"asset {each['address']}": _asset(each) for each in document["assets"]},
        "class": _counted(document["classes"]),
        **({"nearest to": _counted(nearest)} if (nearest := about.get("nearest_classes")) else {}),
        "confidence": f"{document['confidence']} of 100; lowest p-value {about.get('lowest_p_value', 1):.2g}",
        "model": about.get("model", ""),
        "techniques": techniques(document) + " (candidates)" if document["techniques"] else "none",
    }
    table = Table.grid(padding=(0, 2))
    for name, value in rows.items():
        table.add_row(Text(shown(name), style="dim"), Text(shown(value)))
    return table


def _judged(verdict: Mapping[str, Any]) -> str:
    note = f": {verdict['note']}" if verdict.get("note") else ""
    return f"{verdict['verdict']} by {verdict['by']}, {moment(verdict['at_us'])}{note}"


def _asset(asset: Mapping[str, Any]) -> str:
    role = f"{asset['role']} ({asset['confidence']})" if asset.get("role") else None
    criticality = f"criticality {asset['criticality']}" if asset.get("criticality") else None
    return ", ".join(text for text in (asset.get("name"), role, criticality) if text)


def _some(addresses: Sequence[str], count: int = 0) -> str:
    """Some addresses, and how many more there are."""
    more = max(len(addresses), count) - SHOWN_MEMBERS
    return ", ".join(addresses[:SHOWN_MEMBERS]) + (f" and {more:,} more" if more > 0 else "")


def techniques(document: Document) -> str:
    """The candidate techniques, the most exact id of each."""
    return shown(", ".join(f"{each['uid']} {each['name']}" for each in document["techniques"]))


def _counted(classes: Mapping[str, int]) -> str:
    """Classes with their numbers of flows."""
    return ", ".join(f"{name} {count}" for name, count in sorted(classes.items()))


def _reasons(reasons: Iterable[Mapping[str, Any]]) -> Table:
    table = Table("feature", "says", "flows", box=None, padding=(0, 2, 0, 0), header_style="dim")
    for reason in reasons:
        share = f"{reason['share'] * 100:.0f} %"
        table.add_row(Text(shown(reason["feature"])), Text(shown(reason["says"])), Text(share))
    return table


def _talks(evidences: Iterable[Mapping[str, Any]]) -> Table:
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
