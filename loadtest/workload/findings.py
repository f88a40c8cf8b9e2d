"""What a run found: of each kind of attack how many, and how many incidents hold no record of any attack."""

from typing import Any

import numpy as np

from loadtest.workload.finished import Finished
from loadtest.workload.recording import NO_EVENT
from loadtest.workload.watcher import AttackSeen

HOUR_S = 3_600


def attacks_of(run: Finished) -> list[dict[str, Any]]:
    """Each kind of attack: how many were sent, how many of them an alert holds, and how long that took.

    Recall is of attacks that were not scored while their sensor was learning; of a run that was stopped there is none,
    for what came of the last is not known. A delay is from when the attack's first record was due, by the clock.
    """
    kinds: dict[str, list[tuple[AttackSeen, int]]] = {}
    for stream in run.streams:
        tape = stream.tapes.attacked
        if tape.attack_start_us is None:
            continue
        for event in np.unique(tape.event[tape.event != NO_EVENT]).tolist():
            kinds.setdefault(tape.events[event], [])
        records = stream.sent_before(run.schedule.event_span_us)
        if not run.sent.finished:
            records = run.sent.last.get(stream.sensor, -1) + 1
        numbers = np.arange(records)
        event_us = run.schedule.event_start_us + stream.event_us(numbers)
        numbers = numbers[~run.schedule.never(event_us, stream.sensor)]
        attacks = stream.attacks(numbers)
        for attack in np.unique(attacks[attacks >= 0]).tolist():
            first = numbers[attacks == attack][:1]
            due = run.schedule.due_us(run.schedule.event_start_us + stream.event_us(first), stream.sensor)
            seen = run.seen.attacks.get((stream.sensor, attack), AttackSeen())
            kinds[tape.events[attack % len(tape.events)]].append((seen, int(due[0])))
    return [_attack(name, every, run.sent.finished) for name, every in sorted(kinds.items())]


def _attack(name: str, every: list[tuple[AttackSeen, int]], finished: bool) -> dict[str, Any]:
    could = [(seen, due) for seen, due in every if seen.scored > seen.learning or not seen.scored]
    delays = [(seen.alert_us - due) / 1e3 for seen, due in could if seen.alert_us is not None]
    return {
        "attack": name,
        "sent": len(every),
        "while_learning": len(every) - len(could),
        "found": len(delays),
        "recall": round(len(delays) / len(could), 3) if could and finished else None,
        "delay_ms_median": round(float(np.median(delays)), 1) if delays else None,
        "delay_ms_max": round(max(delays), 1) if delays else None,
    }


def incidents_of(run: Finished) -> dict[str, Any]:
    """How many incidents and pages there were, how many of them without a record of an attack, and learning in s.

    An alert names 1,024 of an incident's records at most: an attack beyond them is not seen in it.
    """
    every = run.seen.incidents.values()
    return {
        "incidents": len(every),
        "pages": sum(each.page for each in every),
        "without_attack": {
            "incidents": sum(not each.attack for each in every),
            "pages": sum(each.page and not each.attack for each in every),
        },
        "learning_event_s": None if run.learning_s is None else list(run.learning_s),
    }


def incident_line(out: dict[str, Any]) -> str:
    """What `incidents_of` says, in sentences."""
    false = out["without_attack"]
    said = (
        f"Suspects: {out['suspects']:,}; incidents: {out['incidents']:,}, pages among them: {out['pages']:,}. Without "
        f"a record of an attack: {false['incidents']:,} incidents, {false['pages']:,} pages."
    )
    if not false["incidents"] or out["learning_event_s"] is None:
        return said
    least, most = (f"{seconds / HOUR_S:,.1f}" for seconds in out["learning_event_s"])
    return (
        f"{said} Sensors of --local learn for a quarter to a third of the run's event time only, {least} to {most} "
        "hours: much of what their plant does is new to them afterwards."
    )
