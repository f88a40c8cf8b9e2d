"""What each class of the model means: words, severity and candidate ATT&CK techniques, from `techniques.toml`."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from string import Template
from typing import Any

from pipeline.errors import Misconfigured

# OCSF severity_id.
SEVERITY = {"informational": 1, "low": 2, "medium": 3, "high": 4, "critical": 5}
CONFIDENCE = ("low", "medium", "high")
WORDS = frozenset({"class"})
KEYS = frozenset({"title", "says", "severity", "aliases", "several", "technique"})


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

    @property
    def exact(self) -> str:
        """Its most exact id, and its name: `T0846.001 Port Scan`."""
        return f"{self.sub_uid or self.uid} {self.sub_name or self.name}"


@dataclass(frozen=True, slots=True)
class Meaning:
    """The description of a class. needs_several: it is said only of flows to several ports or hosts."""

    title: str
    says: Template
    severity_id: int
    techniques: tuple[Technique, ...] = ()
    aliases: tuple[str, ...] = ()
    needs_several: bool = False


@dataclass(frozen=True, slots=True)
class Meanings:
    """All classes that are in the table, the meaning of those that are not, and techniques by kind of evidence.

    by_alias: names of classes by other names of theirs, as `_plain` writes them.
    """

    attack_version: str
    classes: Mapping[str, Meaning]
    by_alias: Mapping[str, str]
    evidence: Mapping[str, tuple[Technique, ...]]
    unknown: Meaning
    crowd: Meaning

    def of(self, name: str) -> Meaning:
        """The meaning of a class, by this or another name; that of all others where it is not in the table."""
        if name in self.classes:
            return self.classes[name]
        return self.classes.get(self.by_alias.get(_plain(name), ""), self.unknown)


def _plain(name: str) -> str:
    return name.casefold().replace("-", "_").replace(" ", "_")


def read_meanings(text: str) -> Meanings:
    """The meanings in a TOML text; Misconfigured names what is wrong."""
    try:
        document = tomllib.loads(text)
        classes = {name: _meaning(f"class.{name}", entry) for name, entry in document["class"].items()}
        return Meanings(
            attack_version=str(document["attack_version"]),
            classes=classes,
            by_alias=_by_alias(classes),
            evidence={
                kind: tuple(_technique(f"evidence.{kind}", table) for table in entry["technique"])
                for kind, entry in document.get("evidence", {}).items()
            },
            unknown=_meaning("unknown", document["unknown"]),
            crowd=_meaning("crowd", document["crowd"]),
        )
    except tomllib.TOMLDecodeError as error:
        raise Misconfigured(f"techniques.toml: got no TOML ({error}); correct it") from error
    except KeyError as error:
        raise Misconfigured(f"techniques.toml: {error} is missing; compare with the shipped file") from error


def _by_alias(classes: Mapping[str, Meaning]) -> dict[str, str]:
    names = {_plain(name): name for name in classes}
    for name, meaning in classes.items():
        for alias in map(_plain, meaning.aliases):
            if names.setdefault(alias, name) != name:
                raise Misconfigured(f"techniques.toml class.{name}: got alias {alias} of class.{names[alias]} again")
    return names


def _meaning(where: str, entry: Mapping[str, Any]) -> Meaning:
    severity = entry["severity"]
    if unheard := set(entry) - KEYS:
        raise Misconfigured(f"techniques.toml {where}: got {sorted(unheard)}, expected of {sorted(KEYS)}")
    if severity not in SEVERITY:
        raise Misconfigured(f"techniques.toml {where}: got severity {severity!r}, expected {', '.join(SEVERITY)}")
    says = Template(str(entry["says"]))
    unknown = set(says.get_identifiers()) - WORDS
    if unknown or not says.is_valid():
        raise Misconfigured(f"techniques.toml {where}: got {sorted(unknown)} in `says`, expected {sorted(WORDS)}")
    techniques = tuple(_technique(where, table) for table in entry.get("technique", []))
    aliases = tuple(str(alias) for alias in entry.get("aliases", []))
    return Meaning(str(entry["title"]), says, SEVERITY[severity], techniques, aliases, entry.get("several") is True)


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
