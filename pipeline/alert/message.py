"""An incident's sentences: the facts, what is new about them, and what they look like, as far as that is known."""

from dataclasses import dataclass

from pipeline.alert.evidence_words import Sentence
from pipeline.alert.explain import Reason
from pipeline.alert.facts import Facts, facts_of
from pipeline.alert.feature_words import reason_words
from pipeline.alert.incident import CROWD, Incident
from pipeline.alert.naming import further_names, meaning_of
from pipeline.alert.phrases import Phrases, shipped_phrases
from pipeline.alert.techniques import Meanings, Technique
from pipeline.alert.wording import flows, listed, printable_name
from pipeline.runtime.terminal import printable

MAX_MESSAGE = 1_024
MAX_TITLE = 256
MAX_NAME = 64
ALSO = ". Also: "
SAID_NEW = 2
SAID_UNUSUAL = 2
SAID_CLASSES = 3


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of an incident beside its flows.

    name: a few words for its kind. named: whether its class holds for it. foreign: its model is not calibrated for the
    sensor. confidence: 0 to 100.
    """

    name: str
    named: bool
    foreign: bool
    confidence: int
    said: list[Sentence]
    why: list[Reason]
    techniques: list[Technique]


def title(facts: Facts, known: Known) -> str:
    """The name of its kind and the first fact: what happened first, which a narrow list does not cut off."""
    return f"{printable(known.name, MAX_NAME)}: " + printable(facts.title, MAX_TITLE - MAX_NAME - 2)


def message(
    incident: Incident, meanings: Meanings, known: Known, facts: Facts | None = None, phrases: Phrases | None = None
) -> str:
    """The sentences for the person on shift."""
    words = phrases or shipped_phrases()
    facts = facts or facts_of(incident, words)
    parts = [facts.says]
    if known.said:
        evidence = ALSO.join(sentence.says for sentence in known.said[:SAID_NEW])
        parts.append(words["sentence.new"].substitute(evidence=evidence))
    elif known.why:
        most = [reason for reason in known.why if reason.share >= 0.5] or known.why[:1]
        reasons = ALSO.join(reason_words(reason) for reason in most[:SAID_UNUSUAL])
        parts.append(words["sentence.unusual"].substitute(reasons=reasons))
    if looks := _looks(incident, meanings, known, words):
        parts.append(looks)
    return printable(". ".join(parts), MAX_MESSAGE)


def _looks(incident: Incident, meanings: Meanings, known: Known, words: Phrases) -> str:
    """What it looks like; nothing where it has no name and something else is said."""
    if incident.key == CROWD:
        return meanings.crowd.says.substitute()
    techniques = _techniques(known, words)
    if not known.named:
        if known.foreign and not known.said and not known.why:
            return words["sentence.not_known"].substitute()
        return techniques[:1].upper() + techniques[1:]
    name = _name(incident, meanings, incident.main_class)
    if known.foreign:
        return words["sentence.not_calibrated"].substitute(name=name)
    of_class = incident.classes[incident.main_class]
    if of_class == incident.count:
        says = words["sentence.named"].substitute(name=name, sure=known.confidence)
    else:
        some = f"{of_class:,} of {flows(incident.count)}"
        phrase = words["sentence.named_one" if of_class == 1 else "sentence.named_some"]
        says = phrase.substitute(flows=some, name=name, sure=known.confidence)
    for further in further_names(incident, meanings)[:SAID_CLASSES]:
        number = flows(incident.classes[further])
        says += words["sentence.also"].substitute(flows=number, name=_name(incident, meanings, further))
    return "; ".join(filter(None, [says, techniques]))


def _name(incident: Incident, meanings: Meanings, name: str) -> str:
    meaning = meaning_of(incident, meanings) if name == incident.main_class else meanings.of(name)
    return meaning.says.safe_substitute({"class": printable_name(name)})


def _techniques(known: Known, words: Phrases) -> str:
    if not known.techniques:
        return ""
    names = [technique.exact for technique in known.techniques]
    return words["sentence.technique"].substitute(techniques=listed(names))
