"""A comparison as a page to look at: one HTML file with its pictures in it, nothing fetched from anywhere."""

import html
import io
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; padding: 0 1rem; color: #1d2429; }
table { border-collapse: collapse; margin: 1rem 0; } th, td { padding: .3rem .8rem; text-align: left; }
th { border-bottom: 2px solid #888; } td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; }
tr:nth-child(even) td { background: #f3f5f6; } .gained { color: #a33c00; } .lost { color: #00508c; }
svg { max-width: 100%; height: auto; }
"""
ROWS = (
    ("rows", "flows"),
    ("suspects", "suspects"),
    ("incidents", "incidents"),
    ("incidents_a_day", "incidents a day"),
    ("labelled", "flows with labels"),
    ("attacks", "attacks among them"),
    ("precision", "precision"),
    ("recall", "recall"),
    ("false_rate", "suspects among normal flows"),
)


def write(document: dict[str, Any], path: Path) -> None:
    """Write the page whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(page(document), encoding="utf-8")
    partial.replace(path)


def page(document: dict[str, Any]) -> str:
    """The page. What sensors sent is text in it, never markup."""
    first, second, flows = document["first"], document["second"], document["flows"]
    names = [html.escape(one["name"]) for one in (first, second)]
    models = "; ".join(html.escape(", ".join(one["models"]) or "-") for one in (first, second))
    figures = [(label, first.get(name), second.get(name)) for name, label in ROWS]
    rows = "".join(
        f"<tr><td>{label}</td><td class=n>{_value(one)}</td><td class=n>{_value(other)}</td></tr>"
        for label, one, other in figures
        if one is not None or other is not None
    )
    listed = "".join(_incident(one) for one in document["incidents"]["listed"])
    head = "<tr><th></th><th>when</th><th>sensor</th><th>what</th><th>why</th></tr>"
    counts = document["incidents"]
    return "\n".join(
        (
            f"<!doctype html><html lang=en><meta charset=utf-8><title>{names[0]} and {names[1]}</title>",
            f"<style>{STYLE}</style><h1>{names[0]} and {names[1]}</h1>",
            f"<p>{_time(first['from_us'])} to {_time(first['to_us'])} of event time. Models: {models}.</p>",
            f"<table><tr><th></th><th class=n>{names[0]}</th><th class=n>{names[1]}</th></tr>{rows}</table>",
            f"<h2>Flows</h2><p>{flows['both']:,} in both, {flows['only_first']:,} only in the first,",
            f"{flows['only_second']:,} only in the second; {flows['same_score']:,} with the same score to the bit,",
            f"the largest difference is {_value(flows['largest_difference'])}.",
            f"{flows['gained']:,} suspects gained, {flows['lost']:,} lost.</p>",
            _picture(document),
            f"<h2>Incidents</h2><p>{counts['same']} the same, {counts['changed']} changed, {counts['gained']} gained,",
            f"{counts['lost']} lost.</p>",
            f"<table>{head}{listed}</table>" if listed else "",
            "</html>\n",
        )
    )


def _incident(one: dict[str, Any]) -> str:
    scores = " → ".join("-" if score is None else f"{score:.2f}" for score in one["mean_score"])
    return (
        f"<tr><td class={one['what']}>{one['what']}</td><td>{_time(one['first_ts_us'])}</td>"
        f"<td>{html.escape(one['sensor'])}</td><td>{html.escape(one['message'])}</td>"
        f"<td>{html.escape(one['reason'])}; mean score {scores}</td></tr>"
    )


def _value(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:,.4g}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)


def _time(time_us: int | None) -> str:
    return "-" if time_us is None else f"{datetime.fromtimestamp(time_us / 1e6, UTC):%Y-%m-%d %H:%M:%S}Z"


def _picture(document: dict[str, Any]) -> str:
    """How the scores lie, as SVG; flows on a scale of logarithms, for suspects are few."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(9, 3.2))
    for side, colour in (("first", "#00508c"), ("second", "#a33c00")):
        counts = document[side]["histogram"]
        edges = [number / len(counts) for number in range(len(counts) + 1)]
        axes.stairs(counts, edges, label=document[side]["name"].replace("$", r"\\$"), color=colour, linewidth=1.6)
    axes.set(xlabel="score", ylabel="flows", xlim=(0, 1), yscale="symlog")
    axes.legend(frameon=False)
    for name in ("top", "right"):
        axes.spines[name].set_visible(False)
    figure.tight_layout()
    out = io.StringIO()
    figure.savefig(out, format="svg", metadata={"Date": None})
    pyplot.close(figure)
    text = out.getvalue()
    return text[text.index("<svg") :]
