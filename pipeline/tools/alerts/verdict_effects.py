"""What a verdict will do, to be said before it is given; and what those that were given do. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pipeline.alert.ocsf import SEVERITY_CAPTION
from pipeline.contracts.notice_words import counted, moment
from pipeline.contracts.suppression import Suppressions, suppressed
from pipeline.contracts.verdicts import TRUE_POSITIVE, Record, Standing, standing
from pipeline.tools.alerts.incidents import INCIDENT, SHOWN_UID, Document
from pipeline.tools.alerts.scope_text import scope_words

MAX_LISTED = 5


def effect(
    record: Record, documents: Iterable[Document], verdicts: Sequence[Record], of: int | None = None
) -> dict[str, Any]:
    """What a verdict, or taking one back, changes of the incidents there are.

    documents : the site's; with `of`, how many it has, those alone of which the verdict can change anything
    says : sentences, for people; they hold text from the network
    matches : the incidents that are suppressed with it and were not, newest first
    released : those that were suppressed and are not with it
    """
    of_site = [each for each in documents if each["site"] == record["site"] and each["kind"] == INCIDENT]
    both = (Suppressions(standing(verdicts)), Suppressions(standing([*verdicts, record])))
    before, after = ({each["uid"] for each in of_site if rules.suppressed_by(each) is not None} for rules in both)
    matches = [each for each in of_site if each["uid"] in after - before]
    released = [each for each in of_site if each["uid"] in before - after]
    says = _says(record, matches, released, verdicts, len(of_site) if of is None else of)
    return {"says": says, "matches": matches, "released": released}


def _says(
    record: Record, matches: Sequence[Document], released: Sequence[Document], verdicts: Sequence[Record], of: int
) -> str:
    says = []
    own = standing(verdicts).verdict_on(record["uids"])
    if record["undoes"] is not None:
        says.append(f"takes back verdict {record['undoes'][:SHOWN_UID]}")
    elif record["uid"] is not None:
        says.append(f"settles incident {record['uid'][:SHOWN_UID]} as {record['verdict']}")
        if own is not None:
            says.append(f"replaces {own['verdict']} by {own['by']} of {moment(own['at_us'])}")
    if record["scope"] is not None:
        says.append(_suppresses(record, matches, of))
    elif matches:
        says.append(f"an earlier verdict suppresses {_listed(matches)}")
    elif record["undoes"] is None:
        never = " and lets no earlier verdict do so" if record["verdict_id"] == TRUE_POSITIVE else ""
        says.append(f"suppresses nothing else{never}")
    if released:
        says.append(f"shows {_listed(released)} again, suppressed until now")
    return "; ".join(says)


def _suppresses(record: Record, matches: Sequence[Document], of: int) -> str:
    """What is suppressed now and later, and what is not."""
    times = f"that begin before {moment(record['expires_us'])}"
    if record["scope"]["kind"] == "window":
        times = "that begin and end in it"
    highest = SEVERITY_CAPTION.get(record["max_severity_id"], str(record["max_severity_id"]))
    above = "" if record["max_severity_id"] >= max(SEVERITY_CAPTION) else f", none more severe than {highest}"
    what = scope_words(record["scope"])
    says = f"suppresses {what} at site {record['site']}: {_listed(matches, of)}, and further ones {times}{above}"
    if record["scope"]["kind"] == "incident" and record["judged"]["talks_left_out"]:
        says += (
            ". Its alerts do not list all of its conversations: the same again is what is made of the listed ones "
            "alone; another scope (asset, service, technique) reaches further"
        )
    return says


def _listed(documents: Sequence[Document], of: int | None = None) -> str:
    pages = sum(bool(each["page"]) for each in documents)
    named = ", ".join(each["uid"][:SHOWN_UID] for each in documents[:MAX_LISTED])
    more = ", ..." if len(documents) > MAX_LISTED else ""
    paging = f", {counted(pages, 'page', 'pages')} among them" if pages else ""
    count = (
        counted(len(documents), "incident", "incidents") if of is None else f"{len(documents):,} of {of:,} incidents"
    )
    return count + (f" ({named}{more}){paging}" if documents else "")


def listed_verdicts(verdicts: Sequence[Record], documents: Iterable[Document], now_us: int) -> dict[str, Any]:
    """All verdicts for a list, newest first, with their state and how many incidents each suppresses."""
    stands = standing(verdicts)
    counts: dict[str, int] = {}
    for by in suppressed(documents, stands).values():
        counts[by["id"]] = counts.get(by["id"], 0) + 1
    listed = [_listed_verdict(each, stands, now_us, counts) for each in stands.given.values()]
    listed.sort(key=lambda each: (each["at_us"], each["id"]), reverse=True)
    states = dict.fromkeys(("active", "expired", "overruled", "undone"), 0)
    for each in listed:
        states[each["state"]] += 1
    return {"verdicts": listed, **states, "suppressed": sum(counts.values())}


def _listed_verdict(record: Record, stands: Standing, now_us: int, counts: Mapping[str, int]) -> dict[str, Any]:
    names = ("id", "uid", "site", "verdict", "by", "at_us", "note", "scope", "from_us", "expires_us", "max_severity_id")
    undone = stands.undone.get(record["id"])
    by = {"undone_by": undone["by"], "undone_us": undone["at_us"]} if undone is not None else {}
    state = stands.state_of(record, now_us)
    return {**{name: record[name] for name in names}, "state": state, "suppresses": counts.get(record["id"], 0), **by}
