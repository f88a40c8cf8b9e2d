"""Which incidents verdicts suppress. Pure, the same for any order of verdicts and incidents and for every reader.

Nothing is dropped: a suppressed incident is listed and counted, with the verdict that did it.

The clock is event time alone. A verdict suppresses incidents whose first flow began at `from_us` (its own incident's
first flow) or later, and before `expires_us`. So a list that is read later says the same, what was suppressed stays so
once the verdict has expired, and a replay agrees. When a verdict was given matters twice: `standing` may be asked as of
a time, and of several verdicts that speak of an incident the last one given decides.
"""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from pipeline.contracts.judged_facts import TalkKey, beyond, is_same_again, known_ways, ways_of
from pipeline.contracts.verdict_scopes import DAY_US
from pipeline.contracts.verdicts import TRUE_POSITIVE, WORDS, Record, Standing, order

Document = Mapping[str, Any]
Key = tuple[Any, ...]


class _Rule(NamedTuple):
    """A verdict that holds, ready to be compared; `given` is its place in the order in which verdicts were given."""

    given: tuple[int, str]
    record: Record
    scope: Mapping[str, Any]
    known: frozenset[TalkKey]
    says_attack: bool


class Suppressions:
    """The verdicts that hold, indexed by what they speak of: an incident is compared with those of its key alone.

    10,000 verdicts and 50,000 incidents take seconds, not their product (tests/bench).
    """

    def __init__(self, stands: Standing) -> None:
        self._stands = stands
        self._rules: dict[Key, list[_Rule]] = {}
        for record in stands.holding():
            rule = _rule_of(record)
            if rule is not None:
                for key in keys_of(record):
                    self._rules.setdefault(key, []).append(rule)
        for rules in self._rules.values():
            rules.reverse()

    def verdict_on(self, document: Document) -> Record | None:
        """The verdict on the incident itself, the last one not undone."""
        return self._stands.verdict_on(uids_of(document))

    def settled(self, document: Document) -> bool:
        """Whether somebody judged the incident, and it has not become more since."""
        record = self.verdict_on(document)
        return record is not None and not outgrown(document, record)

    def suppressed_by(self, document: Document) -> Record | None:
        """The verdict that suppresses an incident: of those that speak of it the last one given, if that is no attack.

        None for an incident that a verdict on itself has settled or calls an attack, and for a notice.
        """
        own = self.verdict_on(document)
        if document["kind"] != "incident":
            return None
        if own is not None and (own["verdict_id"] == TRUE_POSITIVE or not outgrown(document, own)):
            return None
        last: _Rule | None = None
        for key in keys_to_ask(document):
            for rule in self._rules.get(key, ()):
                if last is not None and rule.given <= last.given:
                    break
                if _speaks_of(rule, document):
                    last = rule
                    break
        return None if last is None or last.says_attack else last.record


def uids_of(document: Document) -> list[str]:
    """The uids under which an incident may have been judged."""
    return list(dict.fromkeys([document["uid"], *(member["uid"] for member in document["members"])]))


def outgrown(document: Document, record: Record) -> list[str]:
    """What an incident has become since a verdict on it, in words; of a verdict of before that is not known."""
    return beyond(document, record["judged"]) if record["judged"] is not None else []


def shown_suppression(record: Record) -> Record:
    """What a suppressed incident's document says of the verdict that did it."""
    said = {name: record[name] for name in ("by", "at_us", "note", "scope", "expires_us")}
    return {"verdict_id": record["id"], "verdict": WORDS[record["verdict_id"]], **said}


def suppressed(documents: Iterable[Document], stands: Standing) -> dict[str, Record]:
    """By uid, the verdict of each incident that is suppressed."""
    rules = Suppressions(stands)
    found = ((document["uid"], rules.suppressed_by(document)) for document in documents)
    return {uid: record for uid, record in found if record is not None}


def _rule_of(record: Record) -> _Rule | None:
    """What a verdict says of other incidents; None where it says nothing of them."""
    given, judged = order(record), record["judged"]
    known = known_ways(judged) if judged is not None else frozenset()
    if record["verdict_id"] == TRUE_POSITIVE:
        return _Rule(given, record, {"kind": "incident"}, known, True) if judged is not None else None
    return _Rule(given, record, record["scope"], known, False) if record["scope"] is not None else None


def keys_of(record: Record) -> set[Key]:
    """Under which keys a verdict is found: an incident of which it speaks asks for one of them (`keys_to_ask`)."""
    rule = _rule_of(record)
    if rule is None:
        return set()
    scope, site = rule.scope, record["site"]
    match scope["kind"]:
        case "incident":
            return {(site, "incident", rule.record["judged"]["class"], way) for way in rule.known}
        case "asset":
            return {(site, "asset", scope["address"])}
        case "edge":
            return {(site, "edge", scope["source"], scope["target"])}
        case "service":
            return {(site, "service", scope["port"], scope["proto"], scope.get("source"), scope.get("target"))}
        case "function":
            return {(site, "function", scope["target"], scope["protocol"], scope["function"])}
        case "technique":
            return {(site, "technique", scope["uid"])}
        case _:
            days = range(scope["from_us"] // DAY_US, scope["to_us"] // DAY_US + 1)
            return {(site, "window", day) for day in days}


def keys_to_ask(document: Document) -> list[Key]:
    """The keys of all scopes that an incident can be in, by its first talk."""
    site = document["site"]
    keys: list[Key] = [(site, "window", document["first_us"] // DAY_US)]
    for technique in document["techniques"][:1]:
        keys += [(site, "technique", uid) for uid in {technique["uid"], technique["uid"].partition(".")[0]}]
    for talk in document["talks"][:1]:
        keys += [(site, "asset", address) for address in {talk["source"], talk["target"]}]
        for way in ways_of(talk):
            source, target, port, proto = way
            keys += [(site, "incident", document["class"], way), (site, "edge", source, target)]
            keys += [(site, "service", port, proto, *ends) for ends in _ends(source, target)]
            keys += [(site, "function", target, f["protocol"], f["function"]) for f in talk["functions"][:1]]
    return keys


def _ends(source: str, target: str) -> list[tuple[str | None, str | None]]:
    return [(None, None), (source, None), (None, target), (source, target)]


def _speaks_of(rule: _Rule, document: Document) -> bool:
    """Whether a verdict speaks of an incident of its key: time, severity, sensor, and all that the incident is."""
    record, scope = rule.record, rule.scope
    if rule.says_attack:
        return is_same_again(document, record["judged"], rule.known)
    if not record["from_us"] <= document["first_us"] < record["expires_us"]:
        return False
    if document["severity_id"] > record["max_severity_id"]:
        return False
    if "sensor" in scope and set(document["sensors"]) != {scope["sensor"]}:
        return False
    match scope["kind"]:
        case "incident":
            return is_same_again(document, record["judged"], rule.known)
        case "asset":
            return _is_of_asset(document, scope["address"])
        case "technique":
            named = [each["uid"] for each in document["techniques"]]
            return all(uid == scope["uid"] or uid.startswith(f"{scope['uid']}.") for uid in named)
        case "window":
            within = scope["from_us"] <= document["first_us"] and document["last_us"] < scope["to_us"]
            return within and ("address" not in scope or _is_of_asset(document, scope["address"]))
        case _:
            talks = document["talks"]
            return not document["talks_left_out"] and all(_is_in(talk, scope) for talk in talks)


def _is_of_asset(document: Document, address: str) -> bool:
    """Whether a device is at an end of every talk, also of those that the alerts do not list."""
    if not all(address in (talk["source"], talk["target"]) for talk in document["talks"]):
        return False
    ends = {end: {talk[end] for talk in document["talks"]} for end in ("source", "target")}
    alone = (document["all_sources"] and ends["source"] == {address}) or (
        document["all_targets"] and ends["target"] == {address}
    )
    return bool(document["talks"]) and (not document["talks_left_out"] or alone)


def _is_in(talk: Mapping[str, Any], scope: Mapping[str, Any]) -> bool:
    """Whether a talk is in an edge's, service's or function's scope."""
    return any(_way_is_in(way, talk, scope) for way in ways_of(talk))


def _way_is_in(way: TalkKey, talk: Mapping[str, Any], scope: Mapping[str, Any]) -> bool:
    source, target, port, proto = way
    if scope.get("source", source) != source or scope.get("target", target) != target:
        return False
    if scope["kind"] == "service":
        return (port, proto) == (scope["port"], scope["proto"])
    if scope["kind"] == "function":
        wanted = {"protocol": scope["protocol"], "function": scope["function"]}
        return bool(talk["functions"]) and all(each == wanted for each in talk["functions"])
    return True
