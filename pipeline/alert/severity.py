"""How bad an incident is: by what it touches, by what is new about it, and by its name where that counts."""

from pipeline.alert.evidence_words import Sentence
from pipeline.alert.incident import Incident
from pipeline.alert.message import Known
from pipeline.alert.naming import lead_of, meaning_of
from pipeline.alert.techniques import Meaning, Meanings
from pipeline.contracts.baseline import Evidence
from pipeline.contracts.group_addresses import is_group_address
from pipeline.contracts.service_names import REMOTE, service_of

LOWEST, HIGHEST = 1, 5
LOW, MEDIUM, HIGH = 2, 3, 4
# Severity moves up a step from this many flows on, if confident, and down a step below that confidence.
EXTENSIVE_FLOWS = 200
CONFIDENT, DOUBTFUL = 80, 50
OF_HARDWARE = Evidence.SEVERAL_HARDWARE | Evidence.NEW_HARDWARE | Evidence.NEW_DEVICE
"""Evidence that counts wherever the flow goes: it is about who sends."""


def confidence_score(incident: Incident) -> int:
    """0 to 100: the flows' mean score, times how far they agree on the class."""
    return round(100 * incident.mean_score * incident.agreement)


def confidence_of(incident: Incident, said: list[Sentence], knows: bool) -> int:
    """0 to 100: the flows' score, and how far the strongest evidence speaks for something wrong; what is higher.

    knows: whether the model is calibrated for the sensor. Else its score is by another plant's odds, and counts only
    where there is nothing else.
    """
    by_evidence = max((sentence.kind.confidence for sentence in said), default=0)
    return max(confidence_score(incident), by_evidence) if knows or not said else by_evidence


def severity_of(incident: Incident, meanings: Meanings, known: Known) -> int:
    """The severity of its class or of its evidence, what is higher; and at least that of what it touches.

    Where its model is not calibrated for the sensor, a name alone is no more than low; nor is what only reaches groups
    and is about no device's hardware.
    """
    said, named, foreign = known.said, known.named, known.foreign
    # How many flows there are is a fact here, however sure the kind is of something wrong: a flood is no small matter.
    by_evidence = [_stepped(each.kind.severity_id, int(each.flows >= EXTENSIVE_FLOWS)) for each in said]
    touched = touches(incident) if said or not foreign else LOWEST
    if lead_of(said, named) is not None:
        severity = max(*by_evidence, touched)
    else:
        by_name = severity_id(meaning_of(incident, meanings), incident.count, known.confidence) if named else LOW
        severity = max(min(by_name, LOW) if foreign else by_name, touched, *by_evidence)
    is_noise = not named and is_to_groups(incident) and not any(each.kind.bit & OF_HARDWARE for each in said)
    return min(severity, LOW) if is_noise else severity


def touches(incident: Incident) -> int:
    """The least severity by what its flows do: change a device, write to one, open a way to administer one."""
    deeds = incident.deeds.of.values()
    if any(deed.controls for deed in deeds):
        return HIGH
    if any(deed.writes for deed in deeds):
        return MEDIUM
    remote = (service_of(deed.ip_proto, deed.port) for deed in deeds if deed.opened > deed.unanswered + deed.refused)
    return MEDIUM if any(service is not None and service.kind == REMOTE for service in remote) else LOWEST


def is_to_groups(incident: Incident) -> bool:
    """Whether all its flows go to groups: broadcast and multicast."""
    return bool(incident.targets) and not incident.more_targets and all(map(is_group_address, incident.targets))


def severity_id(meaning: Meaning, count: int, confidence: int) -> int:
    """The class's severity; a step down where in doubt, a step up where extensive and beyond doubt."""
    step = -1 if confidence < DOUBTFUL else int(confidence >= CONFIDENT and count >= EXTENSIVE_FLOWS)
    return _stepped(meaning.severity_id, step)


def _stepped(severity: int, step: int) -> int:
    return min(max(severity + step, LOWEST), HIGHEST)
