"""A campaign: rounds one after another, each recorded before the next starts; a recorded round is not repeated."""

import secrets
import shutil
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from loadtest.chaos.plan import faults, plan
from pipeline.errors import BadData, Usage
from pipeline.runtime.telemetry import log
from pipeline.settings import Settings
from pipeline.tools.broker import local
from pipeline.tools.chaos import round as one_round
from pipeline.tools.chaos.invariants import Findings
from pipeline.tools.chaos.round import Result, Round

FIGURES = ("lost", "doubled", "differing_rows", "differing_files")
Notify = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Campaign:
    """What is asked for.

    faults: how many a round; only: names of faults, empty for all; bootstrap: Kafka to use, None for one of its own,
    which only then is killed as well; broken_order: a wrong order to commit in, to see that it is found.
    """

    seed: int
    rounds: int
    faults: int
    folder: Path
    only: tuple[str, ...] = ()
    bootstrap: str | None = None
    broken_order: str = ""
    keep: bool = False

    @property
    def facts(self) -> dict[str, Any]:
        """What must be the same for a campaign to be resumed."""
        return {
            "seed": self.seed,
            "faults": self.faults,
            "only": sorted(self.only),
            "broken_order": self.broken_order,
        }


def require_faults(names: Collection[str]) -> None:
    """Usage for a name that no fault has."""
    unknown = sorted(set(names) - set(faults()))
    if unknown:
        raise Usage(f"--only {unknown[0]}: no such fault; there are {', '.join(faults())}")


def run(campaign: Campaign, resume: bool, notify: Notify) -> dict[str, Any]:
    """Run the rounds that are not recorded yet; return the summary of all."""
    require_faults(campaign.only)
    done = _resume_or_start(campaign, resume)
    left = [number for number in range(campaign.rounds) if number not in done]
    if left:
        with _kafka(campaign, notify) as (bootstrap, broker):
            for number in left:
                folder = campaign.folder / f"round-{number}"
                done[number], settings = _run_round(campaign, number, folder, bootstrap, broker, notify)
                with rounds_of(campaign.folder).open("ab") as file:
                    # A line that was cut when the campaign was killed stays a line of its own.
                    file.write(b"\n" * (file.tell() > 0) + orjson.dumps(done[number]))
                if done[number]["ok"] and not campaign.keep:
                    one_round.clear(settings, folder)
                elif not done[number]["ok"]:
                    notify(f"round {number + 1}: NOT in order; its files stay in {folder}")
    return summary(campaign, [done[number] for number in range(campaign.rounds)])


def _run_round(
    campaign: Campaign, number: int, folder: Path, bootstrap: str, broker: Path | None, notify: Notify
) -> tuple[dict[str, Any], Settings]:
    shutil.rmtree(folder, ignore_errors=True)
    injections = plan(campaign.seed, number, campaign.faults, campaign.only)
    # A round that was broken off has left topics behind: every attempt has its own.
    prefix = f"chaos-{campaign.seed}-{number}-{secrets.token_hex(3)}."
    settings = one_round.settings_for(folder, bootstrap, prefix, campaign.broken_order)
    notify(f"round {number + 1} of {campaign.rounds}, seed {campaign.seed}: {len(injections)} faults; {folder}/logs")
    started = time.monotonic()
    try:
        result = one_round.run(Round(number, campaign.seed, tuple(injections)), settings, folder, broker, notify)
    except Exception as error:
        # The error is a finding about this round: it is not in order, and the other rounds still run.
        log("chaos").exception("round broken off", round=number + 1)
        findings = Findings(violations=[f"broken off: {type(error).__name__}: {error}"])
        result = Result(number, {}, findings, [], {}, time.monotonic() - started, one_round.DRAIN_S)
    document = result.as_document()
    figures = ", ".join(f"{name.replace('_', ' ')} {document[name]}" for name in FIGURES)
    notify(f"round {number + 1}: {document['sent']:,} records, {figures}; {document['seconds']:.0f} s")
    for violation in document["violations"]:
        notify(f"  wrong: {violation}")
    return document, settings


def _resume_or_start(campaign: Campaign, resume: bool) -> dict[int, dict[str, Any]]:
    """The rounds recorded so far, by number; Usage where the folder holds another campaign."""
    campaign.folder.mkdir(parents=True, exist_ok=True)
    record = campaign.folder / "campaign.json"
    facts = orjson.dumps(campaign.facts, option=orjson.OPT_SORT_KEYS)
    if not record.exists():
        record.write_bytes(facts)
        return {}
    if record.read_bytes() != facts:
        raise Usage(
            f"--folder {campaign.folder}: holds the campaign {record.read_bytes().decode()}, asked for "
            f"{facts.decode()}; name another folder"
        )
    if not resume:
        raise Usage(
            f"--folder {campaign.folder}: holds this campaign already; resume it with --resume, or name another"
        )
    done = {int(document["round"]): document for document in _written(campaign.folder)}
    return {number: document for number, document in done.items() if number < campaign.rounds}


def rounds_of(path: Path) -> Path:
    """The file that records a campaign's rounds, one a line: in its folder, or the path itself."""
    return path if path.suffix == ".jsonl" else path / "rounds.jsonl"


def _written(folder: Path) -> Iterator[dict[str, Any]]:
    """The rounds with a whole line; a round whose line was cut counts as not run."""
    path = rounds_of(folder)
    for line in path.read_bytes().splitlines() if path.exists() else ():
        with suppress(orjson.JSONDecodeError):
            yield orjson.loads(line)


@contextmanager
def _kafka(campaign: Campaign, notify: Notify) -> Iterator[tuple[str, Path | None]]:
    if campaign.bootstrap is not None:
        yield campaign.bootstrap, None
        return
    data = campaign.folder / "broker"
    notify("starting a local Kafka")
    try:
        yield local.start(data).bootstrap, data
    finally:
        local.stop(data)
        shutil.rmtree(data, ignore_errors=True)


def summary(campaign: Campaign, rounds: list[dict[str, Any]]) -> dict[str, Any]:
    """All rounds in one document."""
    injected: Counter[str] = Counter()
    for document in rounds:
        injected.update(document["faults"])
    return {
        "seed": campaign.seed,
        "rounds": len(rounds),
        "faults": dict(sorted(injected.items())),
        **{name: sum(document[name] for document in rounds) for name in FIGURES},
        "sent": sum(document["sent"] for document in rounds),
        "alerts": sum(document["alerts"] for document in rounds),
        "notices": sum(document.get("notices", 0) for document in rounds),
        "repeated": sum(document["repeated"] for document in rounds),
        "violations": sum(len(document["violations"]) for document in rounds),
        "ended_by_themselves": sum(len(document["ended_by_themselves"]) for document in rounds),
        "ok": all(document["ok"] for document in rounds),
        "seconds": round(sum(document["seconds"] for document in rounds), 1),
        "folder": str(campaign.folder),
    }


def table(rounds: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A row a fault: how often it was injected, in how many rounds, and how many of those were not in order."""
    names = sorted({name for document in rounds for name in document["faults"]})
    of = {name: [document for document in rounds if name in document["faults"]] for name in names}
    return [
        {
            "fault": name,
            "times": sum(document["faults"][name] for document in of[name]),
            "rounds": len(of[name]),
            "not_in_order": sum(not document["ok"] for document in of[name]),
        }
        for name in names
    ]


def read(folder: Path) -> list[dict[str, Any]]:
    """The recorded rounds of a campaign, in its folder or a file of them; BadData where there are none."""
    if not rounds_of(folder).exists():
        raise BadData(
            f"{folder}: got no rounds.jsonl, expected a campaign's folder or its rounds.jsonl; run one with "
            "`forebay chaos run`"
        )
    rounds = list(_written(folder))
    if not rounds:
        raise BadData(
            f"{folder}: got no whole round in {rounds_of(folder).name}, expected one at least; resume it with --resume"
        )
    return rounds
