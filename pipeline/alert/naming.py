"""What an incident is called: by the class of its flows where that holds for it, else by what is new about them."""

from pipeline.alert.evidence_words import Sentence
from pipeline.alert.explain import Baseline
from pipeline.alert.incident import CROWD, Incident
from pipeline.alert.techniques import Meaning, Meanings, Technique
from pipeline.contracts.class_names import UNKNOWN, is_name

SEVERAL_ATTEMPTS = 4
"""Where no ports are known, so many attempts to connect may be a scan (pipeline/contracts/preconditions.toml)."""

MAX_TECHNIQUES = 16
"""As many as an alert has (schemas/alert.json)."""


def has_name(incident: Incident, meanings: Meanings) -> bool:
    """Whether its class is a name that its flows bear out: the crowd has one; a scan needs several ports or hosts."""
    if incident.key == CROWD:
        return True
    name = incident.main_class
    return is_name(name) and (not meanings.of(name).needs_several or is_of_several(incident))


def further_names(incident: Incident, meanings: Meanings) -> list[str]:
    """Its further classes that its flows bear out."""
    several = is_of_several(incident)
    return [name for name in incident.further_classes if several or not meanings.of(name).needs_several]


def is_of_several(incident: Incident) -> bool:
    """Whether several ports or hosts were asked; where no port is known, whether many connections were tried."""
    ends = incident.ends
    if ends.more_others or len(ends.others) > 1 or incident.more_target_ports or len(incident.target_ports) > 1:
        return True
    attempts = sum(deed.attempts for deed in incident.deeds.of.values())
    return not incident.target_ports and attempts >= SEVERAL_ATTEMPTS


def is_foreign(incident: Incident, baseline: Baseline | None) -> bool:
    """Whether its model is not calibrated for its sensor: its names are then another plant's."""
    return baseline is not None and not baseline.knows(incident.site, incident.sensor)


def lead_of(said: list[Sentence], named: bool) -> Sentence | None:
    """The evidence that names the incident: the strongest, where its flows have no name."""
    return said[0] if said and not named else None


def meaning_of(incident: Incident, meanings: Meanings) -> Meaning:
    """The meaning of its main class, or that of the crowd."""
    return meanings.crowd if incident.key == CROWD else meanings.of(incident.main_class)


def techniques_of(
    incident: Incident, meanings: Meanings, said: list[Sentence] | None = None, named: bool = True
) -> list[Technique]:
    """The candidate techniques of its main class, the further ones and what is new about it, each once, 16 at most."""
    techniques = list(meaning_of(incident, meanings).techniques) if named else []
    if named:
        for name in further_names(incident, meanings):
            techniques += meanings.of(name).techniques
    for sentence in said or []:
        techniques += meanings.evidence.get(sentence.kind.name, ())
    return list({technique.exact: technique for technique in reversed(techniques)}.values())[::-1][:MAX_TECHNIQUES]


def name_of_incident(incident: Incident, meanings: Meanings, said: list[Sentence], named: bool) -> str:
    """A few words for its kind: `Port scan`, `New writer`."""
    if (lead := lead_of(said, named)) is not None:
        return lead.kind.title
    return meaning_of(incident, meanings).title if named else meanings.of(UNKNOWN).title
