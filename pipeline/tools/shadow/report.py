"""What a shadow has seen, as a document, in a sentence, and against a gate."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.tools.gate import beyond
from pipeline.tools.shadow.counts import DECADES, DIFFERING, HOUR_US, SCORES
from pipeline.tools.shadow.state import ShadowState
from pipeline.tools.shadow.tally import ADDED, BOTH, DROPPED, Ints, Tally

HOUR_S = 3600.0


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a shadow must have seen, and the candidate must not go beyond; None where nothing is asked."""

    min_hours: float | None = None
    min_rows: int | None = None
    max_added: float | None = None
    max_dropped: float | None = None


def agreement(counts: Ints) -> dict[str, int]:
    """Rows, and suspects by who calls them so, of (4,) rows by outcome."""
    both, added, dropped = (int(counts[each]) for each in (BOTH, ADDED, DROPPED))
    suspects = {"suspects_in_use": both + dropped, "suspects_candidate": both + added, "suspects_both": both}
    return {"rows": int(counts.sum()), **suspects, "added": added, "dropped": dropped}


def summary(state: ShadowState) -> dict[str, Any]:
    """The figures in short."""
    counts = state.counts
    total = agreement(counts.total)
    rows = max(total["rows"], 1)
    from_us, to_us = event_time_us(state)
    return {
        "model": state.beside.model,
        "topic": state.beside.topic,
        **total,
        "added_share": total["added"] / rows,
        "dropped_share": total["dropped"] / rows,
        "rows_that_differ": int(counts.differing[0]),
        "from_us": from_us,
        "to_us": to_us,
        "event_hours": (to_us - from_us) / HOUR_US if from_us is not None and to_us is not None else 0.0,
        "hours": max(0, state.last_us - state.first_us) / HOUR_US,
        "messages": state.messages,
        "messages_deleted_unread": sum(position.deleted for position in state.positions.values()),
        "behind_s": round(state.behind_s, 3),
        "started_us": state.started_us,
        "saved_us": state.saved_us,
    }


def event_time_us(state: ShadowState) -> tuple[int | None, int | None]:
    """Event time of the first and the last row; None without rows."""
    held_us = state.counts.held_us.values()
    if not held_us:
        return None, None
    return min(first for first, _ in held_us), max(last for _, last in held_us)


def document(state: ShadowState) -> dict[str, Any]:
    """All of it."""
    counts = state.counts
    return {
        **summary(state),
        "models_in_use": [
            {"model": name, "from_us": first, "to_us": last, **agreement(counts.models.by_key[name,])}
            for name, (first, last) in sorted(counts.held_us.items(), key=lambda item: (item[1], item[0]))
        ],
        "sensors": _by_key(counts.sensors, "site", "sensor"),
        "classes": _by_key(counts.classes, "in_use", "candidate"),
        "hours_of_event_time": _by_key(counts.hours, "hour"),
        "others": {
            name: agreement(tally.others)
            for name, tally in (("sensors", counts.sensors), ("classes", counts.classes), ("hours", counts.hours))
        },
        "differing": dict(zip(DIFFERING, counts.differing.tolist(), strict=True)),
        "p_changes": {"decades": list(DECADES), "rows": counts.p_changes.tolist()},
        "score_changes": {"by": list(SCORES), "rows": counts.score_changes.tolist()},
        "examples": counts.examples.by_kind,
    }


def _by_key(tally: Tally, *names: str) -> list[dict[str, Any]]:
    return [{**dict(zip(names, key, strict=True)), **agreement(tally.by_key[key])} for key in sorted(tally.by_key)]


def sentence(figures: Mapping[str, Any] | None) -> str:
    """What a summary says, for people; None or no rows: there was no such run."""
    if figures is None or not figures["rows"]:
        return "was not run in shadow"
    text = (
        f"scored beside the model in use for {figures['event_hours']:.1f} h of event time: {figures['rows']:,} rows, "
        f"adds {figures['added_share']:.3%} suspects, drops {figures['dropped_share']:.3%}"
    )
    deleted = figures["messages_deleted_unread"]
    return f"{text}; {deleted:,} messages were deleted before it read them" if deleted else text


def gate(figures: Mapping[str, Any], bounds: Bounds) -> list[str]:
    """Why a shadow does not pass; empty where it does. One that has seen no row passes nothing."""
    missed = [] if figures["rows"] else ["no row was seen: there is nothing to judge by"]
    for name, value, bound, above in (
        ("hours of event time", figures["event_hours"], bounds.min_hours, False),
        ("rows", figures["rows"], bounds.min_rows, False),
        ("share of rows that it adds as suspects", figures["added_share"], bounds.max_added, True),
        ("share of rows that it drops as suspects", figures["dropped_share"], bounds.max_dropped, True),
    ):
        missed += [] if bound is None else beyond(name, value, bound, above)
    return missed
