"""Notices of a baseline in plain words: a sentence each, and a line for each relation it names.

Names of hosts come from the network: whoever shows the words makes them printable.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from pipeline.contracts.group_addresses import group_of
from pipeline.contracts.notices import (
    ACCEPTED,
    ADMITTED,
    ANCHORED,
    ATTACK,
    CHANGED,
    EXTENDED,
    LEARNT,
    RELEARNT,
    SILENT,
    STATUS,
    UNDONE,
    NamedRelation,
    Notice,
)

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
NOTHING = "nothing"
_DOES = {
    "use": "{source} used {service} of {target}",
    "talk": "{source} sent {service} to {target}",
    "write": "{source} wrote to {target} by {service}",
    "control": "{source} changed program, mode or configuration of {target} by {service}",
    "function": "{source} asked {target} for an industrial function by {service}",
    "hardware": "{source} had a further hardware address",
}


def moment(time_us: int) -> str:
    """A time in UTC: 2015-10-20 15:10:42Z; a number of microseconds where a calendar has none such."""
    try:
        return (EPOCH + timedelta(microseconds=time_us)).strftime("%Y-%m-%d %H:%M:%SZ")
    except OverflowError:
        return f"{time_us} us"


def minute(time_us: int) -> str:
    """A time in UTC to the minute, for a table whose head says that it is UTC: 2015-10-20 15:10."""
    return moment(time_us).removesuffix("Z").rpartition(":")[0] or moment(time_us)


def headline(notice: Notice) -> str:
    """What a notice says, in one sentence; what it is about follows as `relation_lines`."""
    return _SAYS[notice.kind](notice)


def relation_lines(notice: Notice) -> list[str]:
    """A line for each relation that a notice names, and how many more there are."""
    lines = [relation_words(relation) for relation in notice.relations]
    return [*lines, f"and {notice.more:,} more"] if notice.more else lines


def relation_words(relation: NamedRelation) -> str:
    """Who did what with whom, and when: 10.0.0.7 used 502/tcp of 10.0.0.20, once, at 2015-10-20 15:10:42Z."""
    whom = group_of(relation.target)
    target = f"{whom} ({relation.target})" if whom else relation.target
    does = _DOES[relation.what].format(source=relation.source, service=relation.service, target=target)
    first, last = moment(relation.first_us), moment(relation.last_us)
    if not relation.blocks:  # what was taken back counts anew: it has not come since
        return f"{does}, last at {last}"
    if first == last:
        return f"{does}, once, at {first}"
    until = last.removeprefix(first[:11])  # the date once, where it is one
    return f"{does}, in {counted(relation.blocks, 'stretch', 'stretches')}, {first} to {until}"


def counted(count: int, single: str, several: str) -> str:
    """How many of what: 1 relation, 2,048 relations."""
    return f"{count:,} {single if count == 1 else several}"


def usual_words(notice: Notice) -> str:
    """How much is usual, by a notice's figures."""
    figures = notice.figures
    return (
        f"{figures['usual_kinds']:,} of {counted(figures['kinds'], 'kind', 'kinds')} of flow and "
        f"{figures['usual_relations']:,} of {counted(figures['relations'], 'relation', 'relations')} are usual"
    )


def _learnt(notice: Notice) -> str:
    return f"learnt: {usual_words(notice)}; other flows are shown from now on, and still learnt"


def _anchored(notice: Notice) -> str:
    what = "anchored: from now on only what was shown can become usual"
    if not notice.relations:
        return f"{what}; everything came back that came while it learned"
    things = counted(len(notice.relations) + notice.more, "thing", "things")
    return (
        f"{what}; while it learned, {things} came and did not come back, as far as was reported: a connection that is "
        "still open is reported when it ends"
    )


def _changed(_notice: Notice) -> str:
    return (
        "most of what was usual has stopped and most of what comes is new: it learns again, beside what was usual "
        "before; nothing is shown meanwhile but what is certain by itself"
    )


def _extended(notice: Notice) -> str:
    things = counted(len(notice.relations) + notice.more, "relation", "relations")
    return (
        f"beside what is usual as much comes that is new, of several hosts ({things} of late): a new part of the "
        "plant, or made-up addresses; all of it is shown, until it has come back for long enough or is accepted"
    )


def _admitted(notice: Notice) -> str:
    return f"{_affected(notice)} became usual after being shown"


def _silent(notice: Notice) -> str:
    things = len(notice.relations) + notice.more
    was, it_is = ("was", "it is") if things == 1 else ("were", "they are")
    what = f"{counted(things, 'relation', 'relations')} that {was} always there fell silent"
    if notice.figures.get("pausing_relations", 0) == things:
        return f"{what}, for longer than a pause lasts: {it_is} away for more than four days"
    return f"{what}; whether that is a pause, as at nights and weekends, is known once {it_is} back"


def _accepted(notice: Notice) -> str:
    return f"a person accepted as usual: {_affected(notice)}"


def _attack(notice: Notice) -> str:
    return f"a person called it an attack: shown for good, however often it comes back: {_affected(notice)}"


def _undone(notice: Notice) -> str:
    if notice.figures.get("barred_relations", 0):
        number = notice.figures.get("undone", 0)
        return f"a person took back #{number}: {_affected(notice)} can become usual by coming back"
    what, number = _affected(notice), notice.figures.get("undone", 0)
    if what == NOTHING:
        return f"a person took back #{number}: nothing of it was left, by what was asked since"
    return f"a person took back #{number}: not usual any more {what}"


def _relearnt(notice: Notice) -> str:
    return f"a person had it begin anew: forgotten {_affected(notice)}"


def _affected(notice: Notice) -> str:
    """How many relations, addresses and kinds of flow: 2 relations and 1 kind of flow; nothing."""
    figures = notice.figures
    counts = (
        counted(figures.get("affected_relations", 0), "relation", "relations"),
        counted(figures.get("affected_addresses", 0), "address", "addresses"),
        counted(figures.get("affected_kinds", 0), "kind of flow", "kinds of flow"),
    )
    return " and ".join(words for words in counts if not words.startswith("0 ")) or NOTHING


def _status(notice: Notice) -> str:
    return usual_words(notice)


_SAYS: dict[str, Callable[[Notice], str]] = {
    LEARNT: _learnt,
    ANCHORED: _anchored,
    CHANGED: _changed,
    EXTENDED: _extended,
    ADMITTED: _admitted,
    SILENT: _silent,
    STATUS: _status,
    ACCEPTED: _accepted,
    UNDONE: _undone,
    RELEARNT: _relearnt,
    ATTACK: _attack,
}
