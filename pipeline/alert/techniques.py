"""What each class of the model means: words, severity and candidate ATT&CK techniques, from `techniques.toml`."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from string import Template
from typing import Any

from pipeline.contracts.class_names import NORMAL
from pipeline.errors import Misconfigured

# OCSF severity_id.
SEVERITY = {"informational": 1, "low": 2, "medium": 3, "high": 4, "critical": 5}
CONFIDENCE = ("low", "medium", "high")
WORDS = frozenset(
    {"actor", "sources", "target", "targets", "ports", "sensor", "site", "flows", "duration", "class", "nearest"}
)


@dataclass(frozen=True, slots=True)
class Technique:
    """A candidate technique of ATT&CK for ICS; `sub_` empty where it is none's part, `was` an id of older versions."""

    uid: str
    name: str
    tactic_uid: str
    tactic: str
    confidence: str
    sub_uid: str = ""
    sub_name: str = ""
    was: str = ""


@dataclass(frozen=True, slots=True)
class Meaning:
    """The description of a class."""

    title: str
    says: Template
    severity_id: int
    techniques: tuple[Technique, ...] = ()


@dataclass(frozen=True, slots=True)
class Meanings:
    """All classes that are in the table, and the meaning of those that are not."""

    attack_version: str
    classes: Mapping[str, Meaning]
    unknown: Meaning
    crowd: Meaning

    def of(self, name: str) -> Meaning:
        """The meaning of a class; that of all others where it is not in the table."""
        return self.classes.get(name, self.unknown)

    def as_nearest(self, name: str) -> str:
        """What unknown flows are nearest to, in words: a class that they are not shown to be of, or none."""
        if name == NORMAL:
            return "like none of the attacks the model knows"
        title = f'"{self.classes[name].title}"' if name in self.classes else name
        return f"nearest to {title}, which it is not shown to be"


def read_meanings(text: str) -> Meanings:
    """The meanings in a TOML text; Misconfigured names what is wrong."""
    try:
        document = tomllib.loads(text)
        return Meanings(
            attack_version=str(document["attack_version"]),
            classes={name: _meaning(f"class.{name}", entry) for name, entry in document["class"].items()},
            unknown=_meaning("unknown", document["unknown"]),
            crowd=_meaning("crowd", document["crowd"]),
        )
    except tomllib.TOMLDecodeError as error:
        raise Misconfigured(f"techniques.toml: got no TOML ({error}); correct it") from error
    except KeyError as error:
        raise Misconfigured(f"techniques.toml: {error} is missing; compare with the shipped file") from error


def _meaning(where: str, entry: Mapping[str, Any]) -> Meaning:
    severity = entry["severity"]
    if severity not in SEVERITY:
        raise Misconfigured(f"techniques.toml {where}: got severity {severity!r}, expected {', '.join(SEVERITY)}")
    says = Template(str(entry["says"]))
    unknown = set(says.get_identifiers()) - WORDS
    if unknown or not says.is_valid():
        raise Misconfigured(f"techniques.toml {where}: got {sorted(unknown)} in `says`, expected {sorted(WORDS)}")
    techniques = tuple(_technique(where, table) for table in entry.get("technique", []))
    return Meaning(str(entry["title"]), says, SEVERITY[severity], techniques)


def _technique(where: str, entry: Mapping[str, Any]) -> Technique:
    try:
        technique = Technique(**{name: str(value) for name, value in entry.items()})
    except TypeError as error:
        raise Misconfigured(f"techniques.toml {where}: technique: {error}; compare with the shipped file") from error
    if technique.confidence not in CONFIDENCE:
        raise Misconfigured(
            f"techniques.toml {where}: got confidence {technique.confidence!r}, expected {', '.join(CONFIDENCE)}"
        )
    return technique


@cache
def shipped() -> Meanings:
    """The meanings shipped with Forebay."""
    return read_meanings(files("pipeline.alert").joinpath("techniques.toml").read_text(encoding="utf-8"))
