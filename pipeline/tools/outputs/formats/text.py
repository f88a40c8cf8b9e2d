"""A revision for people: a line, and a short page for e-mail."""

from pipeline.tools.outputs.formats.times import rfc3339
from pipeline.tools.outputs.revision import Revision

MAX_SUBJECT = 160
MAX_LISTED = 8


def line(revision: Revision) -> str:
    """One line: how bad, what, where, which incident."""
    test = "TEST " if revision.is_test else ""
    return (
        f"{test}{revision.severity} {revision.activity}: {revision.says} "
        f"[site {revision.site}, sensor {', '.join(revision.sensors)}, {revision.uid[:12]}, revision {revision.number}]"
    )


def subject(revision: Revision) -> str:
    """A subject of at most 160 characters."""
    text = f"{'TEST ' if revision.is_test else ''}[{revision.severity}] {revision.site}: {revision.says}"
    return text if len(text) <= MAX_SUBJECT else f"{text[: MAX_SUBJECT - 1]}…"


def page(revision: Revision) -> str:
    """What is known, and what to do next, in lines."""
    lines = [revision.says, ""]
    facts = {
        "severity": f"{revision.severity} (confidence {revision.confidence} of 100)",
        "site": revision.site,
        "sensor": ", ".join(revision.sensors),
        "since": rfc3339(revision.first_us),
        "until": rfc3339(revision.last_us),
        "flows": f"{revision.flows:,}",
        "state": revision.activity,
        "why now": revision.disposition,
        "candidate techniques": ", ".join(f"{each.uid} {each.name}" for each in revision.techniques),
    }
    lines += [f"{name}: {value}" for name, value in facts.items() if value]
    if revision.reasons:
        lines += ["", "What is unusual:", *(f"  {reason}" for reason in revision.reasons[:MAX_LISTED])]
    if revision.talks:
        lines += ["", "Who with whom:"]
        for talk in revision.talks[:MAX_LISTED]:
            service = f" port {talk.port}" if talk.port >= 0 else ""
            lines.append(f"  {talk.source.shown} to {talk.target.shown}{service} {talk.protocol}".rstrip())
    lines += ["", f"forebay alert show {revision.uid[:12]}"]
    if revision.is_test:
        lines += ["", "This is a test of `forebay output check`: nothing has happened."]
    return "\n".join(lines) + "\n"
