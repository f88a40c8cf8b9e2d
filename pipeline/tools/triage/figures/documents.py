"""The figures as the screens get them: a value, or why it is not known. Never 0 for what is not known. Pure."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from pipeline.contracts.envelope import SensorName
from pipeline.tools.triage.figures.hop_lag import HOPS, lag_of
from pipeline.tools.triage.figures.loss import NO_NUMBERS
from pipeline.tools.triage.figures.readings import LATE, RECORDS, REJECTS, SCORED, SUSPECTS, UNUSUAL
from pipeline.tools.triage.figures.watch import PENDING, Known, StageFigures

STAGE_OF = {RECORDS: "ingest", REJECTS: "ingest", LATE: "featurize", SCORED: "score", UNUSUAL: "score"}
OTHER = "other"
"""Where a stage counts sensors for which it has no room of their own."""
STATUS_US = 3_900_000_000
"""A sensor that sends is heard of once an hour by its status; a little more, for that takes its time."""
EXPECTED_PERCENT = 10.0
"""Where a calibration fits, one row in ten has a p-value of .1 at most (pipeline/score/sensor_shares.py)."""
LEAST_ROWS = 200
"""Of fewer rows a share says nothing."""
MAX_WORST = 3
MAX_REASONS = 2


def sensor_figures(
    known: Known, name: SensorName, partition: int | None, stored_us: int | None, now_us: int
) -> dict[str, Any]:
    """What is known of a sensor beside its notices.

    partition: of its topics, None where only alerts name it. stored_us: when its last notice was written.
    `not_known` says of each figure that is missing why.
    """
    not_known: dict[str, str] = {}
    found: dict[str, Any] = {"not_known": not_known}
    for figure in (RECORDS, REJECTS, LATE):
        value = _counted(known, figure, name)
        if isinstance(value, str):
            not_known[figure] = value
        else:
            found[figure] = value
    ingest = known.stages.get("ingest")
    if REJECTS in found and ingest is not None:
        found["counted_since_us"] = ingest.since_us
        found["reject_reasons"] = dict(
            sorted(ingest.reasons.get(name, {}).items(), key=lambda each: (-each[1], each[0]))
        )
    found |= _unusual(known, name, not_known)
    found |= _lag(known, partition, now_us, not_known)
    found |= _loss(known, name, not_known)
    return found | _idle(known, name, stored_us, now_us)


def _counted(known: Known, figure: str, name: SensorName) -> int | str:
    """A sensor's count, or why it is not known."""
    stage = STAGE_OF[figure]
    figures = known.stages.get(stage)
    if figures is None:
        return _silent(stage, known)
    if (figure, *name) not in figures.counts and (figure, OTHER, OTHER) in figures.counts:
        return f"{stage} counts no more than a thousand sensors by name"
    return figures.counts.get((figure, *name), 0)


def _silent(stage: str, known: Known) -> str:
    """Why nothing is known of a stage."""
    if known.at_us is None:
        return "; ".join(known.problems) or PENDING
    own = [problem for problem in known.problems if stage in problem]
    why = own if known.stages else (own or known.problems)
    return f"{stage} was not read: {'; '.join(why[:MAX_REASONS]) or 'no address that is asked is of it'}"


def _unusual(known: Known, name: SensorName, not_known: dict[str, str]) -> dict[str, Any]:
    scored, unusual = _counted(known, SCORED, name), _counted(known, UNUSUAL, name)
    if isinstance(scored, str) or isinstance(unusual, str):
        not_known["unusual_percent"] = str(scored if isinstance(scored, str) else unusual)
        return {}
    if scored < LEAST_ROWS:
        not_known["unusual_percent"] = f"under {LEAST_ROWS} rows of it were scored"
        return {"scored": scored}
    return {"scored": scored, "unusual_percent": _percent(unusual, scored)}


def _lag(known: Known, partition: int | None, now_us: int, not_known: dict[str, str]) -> dict[str, Any]:
    lag = lag_of(partition, known.lags, known.lags_at_us or now_us) if partition is not None else None
    if lag is None:
        by_alerts = "only alerts name the sensor, so its partition is not known" if partition is None else ""
        late = "Kafka did not say it of every stage in time"
        not_known["lag"] = by_alerts or known.no_lags or late
        return {}
    waits = {"waits_for": lag.stage} if lag.stage else {}
    return {"lag_us": lag.lag_us, "messages_behind": lag.messages, **waits}


def _loss(known: Known, name: SensorName, not_known: dict[str, str]) -> dict[str, Any]:
    lost = known.losses.get(name)
    if lost is None:
        not_known["lost"] = known.no_losses or NO_NUMBERS
        return {}
    if lost["exporters_unknown"] == lost["exporters"]:
        not_known["lost"] = "its exporters' numbers do not say what they count (`forebay archive verify`)"
        return {}
    return {"lost_flows": lost["missing_flows"], "lost_packets": lost["missing_packets"], "lost_exact": lost["exact"]}


def _idle(known: Known, name: SensorName, stored_us: int | None, now_us: int) -> dict[str, Any]:
    """Since when it sends nothing; `idle_is`: about, at_least, or at_most that long."""
    ingest = known.stages.get("ingest")
    since_status_us = None if stored_us is None else max(0, now_us - stored_us)
    answers = ingest is not None and ingest.at_us == known.at_us
    seen_us = ingest.seen_us.get(name) if ingest is not None else None
    if answers and seen_us is not None:
        return {"idle_us": max(0, now_us - seen_us), "idle_is": "about"}
    if since_status_us is not None and since_status_us > STATUS_US:
        return {"idle_us": since_status_us, "idle_is": "about"}
    if answers and known.began_us is not None:
        return {"idle_us": max(0, now_us - known.began_us), "idle_is": "at_least"}
    return {} if since_status_us is None else {"idle_us": since_status_us, "idle_is": "at_most"}


def _percent(part: int, whole: int) -> float:
    return round(100 * part / whole, 1)


def stage_documents(known: Known) -> list[dict[str, Any]]:
    """How each stage does, those through which every flow goes first."""
    order = {stage: number for number, stage in enumerate((*HOPS, "archive", "retrain"))}
    made = []
    for stage in sorted({*known.stages, *HOPS}, key=lambda stage: (order.get(stage, len(order)), stage)):
        found: dict[str, Any] = {"stage": stage}
        figures = known.stages.get(stage)
        if figures is None:
            found["not_known"] = _silent(stage, known)
        else:
            found |= _stage(figures, known)
        made.append(found | _waiting(stage, known))
    return made


def _waiting(stage: str, known: Known) -> dict[str, int]:
    """What a stage has not read yet, as Kafka has it; nothing where that is not known."""
    at_us, lags = known.lags_at_us, [lag for (of, _), lag in known.lags.items() if of == stage]
    if at_us is None or known.no_lags or not lags:
        return {}
    oldest = [lag.oldest_us for lag in lags if lag.oldest_us is not None]
    messages = sum(lag.messages for lag in lags if lag.oldest_us is not None)
    return {"messages_behind": messages, "waits_us": max(0, at_us - min(oldest, default=at_us))}


def _stage(figures: StageFigures, known: Known) -> dict[str, Any]:
    sums: Counter[str] = Counter()
    for worker in figures.workers:
        sums.update(worker.sums)
    lags = [worker.lag_us for worker in figures.workers if worker.lag_us is not None]
    started_us = [worker.started_us for worker in figures.workers]
    return {
        "answers": figures.at_us == known.at_us,
        "answered_us": figures.at_us,
        "workers": len(figures.workers),
        "ready": sum(worker.is_ready for worker in figures.workers),
        "started_us": min(started_us),
        "last_started_us": max(started_us),
        "lag_us": max(lags, default=None),
        **{name: sums[name] for name in ("rows_in", "rows_out", "rejected", "errors") if name in sums},
    }


def ages(known: Known) -> dict[str, Any]:
    """When each kind of figure was read, and what is being read for the first time."""
    pending = [known.no_lags, known.no_losses, *([] if known.at_us or known.problems else [PENDING])]
    return {
        "read_us": {"stages": known.at_us, "lag": known.lags_at_us, "lost": known.losses_at_us},
        "reading": PENDING in pending,
        "problems": list(known.problems),
    }


def drift(known: Known) -> dict[str, Any]:
    """How unusual what is scored has been lately, against what its calibration expects; or `not_known`, and why."""
    score = known.stages.get("score")
    if score is None:
        return {"not_known": _silent("score", known)}
    rows, unusual = _by_sensor(score.counts, SCORED), _by_sensor(score.counts, UNUSUAL)
    suspects = _by_sensor(score.counts, SUSPECTS)
    scored = sum(rows.values())
    found: dict[str, Any] = {"scored": scored, "since_us": score.since_us, "until_us": score.at_us}
    if scored < LEAST_ROWS:
        return {**found, "not_known": f"under {LEAST_ROWS} rows were scored since then"}
    shares = {name: _percent(unusual[name], count) for name, count in rows.items() if count >= LEAST_ROWS}
    worst = sorted(shares.items(), key=lambda item: (-item[1], item[0]))[:MAX_WORST]
    return {
        **found,
        "unusual_percent": _percent(sum(unusual.values()), scored),
        "expected_percent": EXPECTED_PERCENT,
        "suspect_percent": round(100 * sum(suspects.values()) / scored, 2),
        "worst": [{"site": site, "sensor": sensor, "unusual_percent": share} for (site, sensor), share in worst],
    }


def _by_sensor(counts: Mapping[tuple[str, str, str], int], figure: str) -> Counter[SensorName]:
    return Counter({(site, sensor): count for (of, site, sensor), count in counts.items() if of == figure})
