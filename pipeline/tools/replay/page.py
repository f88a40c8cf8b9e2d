"""A comparison as a page for people: one HTML file with its pictures in it, nothing fetched from anywhere."""

import html
import io
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipeline.runtime.files import write_atomic

STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 76rem; padding: 0 1rem; color: #1d2429; }
table { border-collapse: collapse; margin: 1rem 0; }
th, td { padding: .3rem .8rem; text-align: left; vertical-align: top; }
th { border-bottom: 2px solid #888; } td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; }
tr:nth-child(even) td { background: #f3f5f6; } .gained, .bad { color: #a33c00; } .lost { color: #00508c; }
td ul { margin: 0; padding-left: 1.1rem; min-width: 24rem; }
.when { white-space: nowrap; } .small { color: #5a646b; font-size: 13px; }
svg { max-width: 100%; height: auto; }
"""
ROWS = (
    ("rows", "flows"),
    ("suspects", "suspects"),
    ("incidents", "incidents"),
    ("incidents_a_day", "incidents a day"),
    ("labelled", "flows with labels"),
    ("attacks", "attacks among them"),
    ("precision", "precision, of flows"),
    ("recall", "recall, of flows"),
    ("false_rate", "suspects among normal flows"),
)
JUDGED_ROWS = (
    ("precision", "precision, of judged incidents"),
    ("recall", "recall, of judged incidents"),
)
COLOURS = (("first", "#00508c"), ("second", "#a33c00"))


def write(document: dict[str, Any], path: Path) -> None:
    """Write the page whole or not at all."""
    write_atomic(path, page(document).encode(), durable=False)


def rows(document: dict[str, Any]) -> Iterator[tuple[str, tuple[str, str]]]:
    """The table of figures: what it is, and its value on each side; what neither has is left out."""
    sides = document["first"], document["second"]
    for name, label in ROWS:
        values = [side.get(name) for side in sides]
        if any(value is not None for value in values):
            yield label, (_value(values[0]), _value(values[1]))
    judged = [side.get("verdicts") for side in sides]
    if judged[0] is None or judged[1] is None:
        return
    for part, whole, label in (
        ("confirmed_found", "confirmed", "confirmed incidents found"),
        ("false_raised", "false", "incidents judged false, raised"),
    ):
        first, second = (f"{side[part]} of {side[whole]}" for side in judged)
        yield label, (first, second)
    for name, label in JUDGED_ROWS:
        yield label, (_value(judged[0][name]), _value(judged[1][name]))


def sources(document: dict[str, Any]) -> Iterator[str]:
    """Where labels and verdicts are from, a line each."""
    side = document["second"]
    if "labelled" in side:
        by = side["labelled_by"]
        files = ", ".join(document["labels"]["files"])
        yield (
            f"labels of flows: {by['files']:,} from files{f' ({files})' if files else ''}, {by['verdicts']:,} from "
            f"verdicts; {document['labels']['conflicting']:,} flows called both attack and normal are left out"
        )
    if "verdicts" in document:
        said = document["verdicts"]
        named = ", ".join(Path(source).name for source in said["sources"])
        yield (
            f"verdicts from {named}: {said['read']:,} read, {said['judged']:,} incidents of this history judged, "
            f"{said['outside']:,} of another; {said['overruled']:,} overruled by a later one, "
            f"{said['withdrawn']:,} taken back, {said['unusable']:,} not usable"
        )


def page(document: dict[str, Any]) -> str:
    """The page. What sensors and analysts sent is text in it, never markup."""
    first, second, flows = document["first"], document["second"], document["flows"]
    names = [html.escape(side["name"]) for side in (first, second)]
    models = [html.escape(", ".join(side["models"]) or "-") for side in (first, second)]
    figures = "".join(
        f"<tr><td>{label}</td><td class=n>{left}</td><td class=n>{right}</td></tr>"
        for label, (left, right) in rows(document)
    )
    listed = "".join(_incident(incident) for incident in document["incidents"]["listed"])
    counts = document["incidents"]
    shown = len(counts["listed"])
    all_of = counts["gained"] + counts["lost"] + counts["changed"]
    head = "<tr><th></th><th>when</th><th>sensor</th><th>what</th><th>why</th></tr>"
    return "\n".join(
        (
            f"<!doctype html><html lang=en><meta charset=utf-8><title>{names[0]} and {names[1]}</title>",
            f"<style>{STYLE}</style><h1>{names[0]} and {names[1]}</h1>",
            f"<p>{_time(first['from_us'])} to {_time(first['to_us'])} of event time.</p>",
            f"<table><tr><th></th><th class=n>{names[0]}</th><th class=n>{names[1]}</th></tr>",
            f"<tr><td>model</td><td class=n>{models[0]}</td><td class=n>{models[1]}</td></tr>{figures}</table>",
            *(f"<p class=small>{html.escape(line)}.</p>" for line in sources(document)),
            f"<h2>Flows</h2><p>{flows['both']:,} in both, {flows['only_first']:,} only in the first,",
            f"{flows['only_second']:,} only in the second; {flows['same_score']:,} with the same score to the bit,",
            f"the largest difference is {_value(flows['largest_difference'])}.",
            f"{flows['gained']:,} suspects gained, {flows['lost']:,} lost.</p>",
            _picture(document),
            f"<h2>Incidents</h2><p>{counts['same']} the same, {counts['changed']} changed, {counts['gained']} gained,",
            f"{counts['lost']} lost{f'; the first {shown} are shown' if shown < all_of else ''}.</p>",
            f"<table>{head}{listed}</table>" if listed else "",
            _judged(document),
            "</html>\n",
        )
    )


def _incident(incident: dict[str, Any]) -> str:
    reasons = "".join(f"<li>{html.escape(part)}</li>" for part in incident["reason"].split("; "))
    verdict = f"<br><b>{html.escape(incident['verdict'])}</b>, says an analyst" if incident.get("verdict") else ""
    uid = html.escape(incident["uid"])
    return (
        f"<tr><td class={incident['what']}>{incident['what']}</td><td class=when>{_time(incident['first_ts_us'])}</td>"
        f"<td class=when>{html.escape(incident['sensor'])}</td>"
        f"<td>{html.escape(incident['message'])}{verdict}<br><span class=small>{uid}</span></td>"
        f"<td><ul>{reasons}</ul></td></tr>"
    )


def _judged(document: dict[str, Any]) -> str:
    """What analysts judged, what the second should have done otherwise first."""
    if not document.get("judged"):
        return ""
    lines = []
    for incident in document["judged"]:
        raised = [
            "not raised" if uid is None else "raised" if uid == incident["uid"] else f"raised as {uid[:8]}"
            for uid in incident["raised"]
        ]
        wrong = [" class=bad" if incident["confirmed"] == (uid is None) else "" for uid in incident["raised"]]
        said = f"{incident['verdict']} by {incident['by']}{': ' if incident['note'] else ''}{incident['note']}"
        lines.append(
            f"<tr><td class=small>{html.escape(incident['uid'])}</td><td>{html.escape(said)}</td>"
            f"<td{wrong[0]}>{raised[0]}</td><td{wrong[1]}>{raised[1]}</td></tr>"
        )
    names = [html.escape(document[side]["name"]) for side in ("first", "second")]
    head = f"<tr><th>incident</th><th>verdict</th><th>{names[0]}</th><th>{names[1]}</th></tr>"
    return f"<h2>Judged by analysts</h2><table>{head}{''.join(lines)}</table>"


def _value(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:,.4g}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)


def _time(time_us: int | None) -> str:
    return "-" if time_us is None else f"{datetime.fromtimestamp(time_us / 1e6, UTC):%Y-%m-%d %H:%M:%S}Z"


def _picture(document: dict[str, Any]) -> str:
    """How the scores lie and when incidents start, as SVG; flows on a scale of logarithms, for suspects are few."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import dates, pyplot

    figure, (scores, times) = pyplot.subplots(2, 1, figsize=(9, 5.6))
    for side, colour in COLOURS:
        name = document[side]["name"].replace("$", r"\$")
        counts = document[side]["histogram"]
        edges = [number / len(counts) for number in range(len(counts) + 1)]
        scores.stairs(counts, edges, label=name, color=colour, linewidth=1.6)
        line = document[side]["timeline"]
        ends = [line["from_us"] + line["step_us"] * number for number in range(len(line["incidents"]) + 1)]
        moments = dates.date2num([datetime.fromtimestamp(end / 1e6, UTC) for end in ends])  # type: ignore[no-untyped-call]
        times.stairs(line["incidents"], moments, label=name, color=colour, linewidth=1.6)
    scores.set(xlabel="score", ylabel="flows", xlim=(0, 1), yscale="symlog")
    times.set(xlabel="event time, UTC", ylabel="incidents that start")
    times.xaxis_date()
    times.xaxis.set_major_formatter(dates.ConciseDateFormatter(times.xaxis.get_major_locator()))  # type: ignore[no-untyped-call]
    times.yaxis.get_major_locator().set_params(integer=True)
    scores.legend(frameon=False)
    for axes in (scores, times):
        for name in ("top", "right"):
            axes.spines[name].set_visible(False)
    figure.tight_layout()
    out = io.StringIO()
    figure.savefig(out, format="svg", metadata={"Date": None})
    pyplot.close(figure)
    text = out.getvalue()
    return text[text.index("<svg") :]
