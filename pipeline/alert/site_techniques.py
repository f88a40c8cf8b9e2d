"""What a plant changes in the shipped table of techniques: candidates added, removed, renamed, from a TOML file.

Severity stays the shipped one: it decides which incidents page.
"""

import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from pathlib import Path
from string import Template
from typing import Any

from pipeline.alert.shown_evidence import SAID, name_of
from pipeline.alert.techniques import CONFIDENCE, WORDS, Meaning, Meanings, Technique, shipped
from pipeline.errors import Misconfigured

MeaningsOf = Callable[[str], Meanings]
"""The meanings at a site."""
MAX_TECHNIQUES = 8
"""Of one class, and of one kind of evidence."""
MAX_BYTES = 1_048_576
MAX_TEXT = 128
CLASS_KEYS = ("title", "says", "remove", "technique")
EVIDENCE_KEYS = ("remove", "technique")
TECHNIQUE_KEYS = tuple(field.name for field in fields(Technique))
NEEDED = ("uid", "name", "tactic_uid", "tactic", "confidence")
"""What a technique has to have that the shipped table does not name."""
SHAPES = {"uid": r"T\d{4}", "sub_uid": r"T\d{4}\.\d{3}", "tactic_uid": r"TA\d{4}", "was": r"T\d{4}(\.\d{3})?"}


def meanings_of_sites(path: Path | None, of_sites: Mapping[str, Path]) -> MeaningsOf:
    """The meanings by site: with the changes of its own file, else of the file for all; Misconfigured names mistakes.

    Every file is read here, once: a mistake shows before there are alerts.
    """
    general = read_changes(path) if path is not None else shipped()
    by_site = {site: read_changes(own) for site, own in of_sites.items()}
    return lambda site: by_site.get(site, general)


def read_changes(path: Path) -> Meanings:
    """The shipped meanings with the changes of a file."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise Misconfigured(f"techniques {path}: got {error}, expected a TOML file (docs/alerts.md)") from None
    if len(content) > MAX_BYTES:
        raise Misconfigured(f"techniques {path}: got more than {MAX_BYTES:,} bytes, expected a table of techniques")
    try:
        document = tomllib.loads(content.decode())
    except (ValueError, RecursionError) as error:  # no TOML, no UTF-8, or a number of thousands of digits
        raise Misconfigured(f"techniques {path}: got no TOML ({error}); correct it") from None
    return changed(shipped(), document, str(path))


def changed(meanings: Meanings, document: Mapping[str, Any], where: str) -> Meanings:
    """Meanings with the changes of a document: tables `class` and `evidence`, by class and kind of evidence."""
    _expect_keys(f"techniques {where}", document, ("class", "evidence"))
    known = _known(meanings)
    classes, evidence = dict(meanings.classes), dict(meanings.evidence)
    kinds = [name_of(bit) for bit in SAID]
    for name, entry in _tables(f"techniques {where}", document, "class"):
        if name not in classes:
            raise Misconfigured(f"techniques {where} class.{name}: expected a class of {_listed(classes)}")
        classes[name] = _changed_class(f"techniques {where} class.{name}", classes[name], entry, known)
    for name, entry in _tables(f"techniques {where}", document, "evidence"):
        if name not in kinds:
            raise Misconfigured(f"techniques {where} evidence.{name}: expected a kind of evidence of {_listed(kinds)}")
        at = f"techniques {where} evidence.{name}"
        _expect_keys(at, entry, EVIDENCE_KEYS)
        evidence[name] = _changed_techniques(at, evidence.get(name, ()), entry, known)
    return replace(meanings, classes=classes, evidence=evidence)


def _known(meanings: Meanings) -> dict[str, Technique]:
    """Every technique of the table by its most exact id."""
    tables = [*(each.techniques for each in meanings.classes.values()), *meanings.evidence.values()]
    return {technique.sub_uid or technique.uid: technique for table in tables for technique in table}


def _changed_class(at: str, meaning: Meaning, entry: Mapping[str, Any], known: Mapping[str, Technique]) -> Meaning:
    _expect_keys(at, entry, CLASS_KEYS)
    says = Template(_text(at, entry, "says")) if "says" in entry else meaning.says
    if not says.is_valid() or set(says.get_identifiers()) - WORDS:
        raise Misconfigured(f"{at}: got {says.template!r} as `says`, expected words, with $class at most")
    return replace(
        meaning,
        title=_text(at, entry, "title") if "title" in entry else meaning.title,
        says=says,
        techniques=_changed_techniques(at, meaning.techniques, entry, known),
    )


def _changed_techniques(
    at: str, techniques: tuple[Technique, ...], entry: Mapping[str, Any], known: Mapping[str, Technique]
) -> tuple[Technique, ...]:
    by_id = {technique.sub_uid or technique.uid: technique for technique in techniques}
    for uid in _list(at, entry, "remove"):
        if by_id.pop(str(uid), None) is None:
            raise Misconfigured(
                f"{at}: got {uid!r} to remove, expected one of its own: {_listed(by_id) or 'it has none'}"
            )
    for table in _list(at, entry, "technique"):
        technique = _technique(at, table, known)
        by_id[technique.sub_uid or technique.uid] = technique
    if len(by_id) > MAX_TECHNIQUES:
        raise Misconfigured(f"{at}: got {len(by_id)} techniques, expected {MAX_TECHNIQUES} at most")
    return tuple(by_id.values())


def _technique(at: str, entry: Any, known: Mapping[str, Technique]) -> Technique:
    """A technique that the shipped table names, by its most exact id, or one with all that it needs."""
    if not isinstance(entry, Mapping):
        raise Misconfigured(f"{at}: got technique {entry!r}, expected tables `[[...technique]]`")
    _expect_keys(f"{at} technique", entry, TECHNIQUE_KEYS)
    given = {name: _text(f"{at} technique", entry, name) for name in entry}
    uid = given.get("sub_uid") or given.get("uid", "")
    if given.get("confidence", CONFIDENCE[0]) not in CONFIDENCE:
        raise Misconfigured(f"{at} {uid}: got confidence {given['confidence']!r}, expected {', '.join(CONFIDENCE)}")
    if set(given) <= {"uid", "name", "confidence"} and uid in known:
        named = known[uid]
        renamed = {"sub_name" if named.sub_uid else "name": given["name"]} if "name" in given else {}
        return replace(named, confidence=given.get("confidence", named.confidence), **renamed)
    needed = (*NEEDED, *(("sub_name",) if "sub_uid" in given else ()))
    if missing := [name for name in needed if name not in given]:
        raise Misconfigured(
            f"{at}: got technique {uid or 'without uid'}, expected one of the shipped table, {_listed(known)}; or of "
            f"another also its {_listed(missing)}"
        )
    for name, shape in SHAPES.items():
        if name in given and not re.fullmatch(shape, given[name], re.ASCII):
            raise Misconfigured(f"{at} {uid}: got {name} {given[name]!r}, expected one like {_example(name)}")
    if "sub_uid" in given and not given["sub_uid"].startswith(given["uid"]):
        raise Misconfigured(f"{at}: got sub_uid {given['sub_uid']}, expected a part of {given['uid']}")
    return Technique(**given)


def _example(name: str) -> str:
    return {"sub_uid": "T0846.001", "tactic_uid": "TA0102"}.get(name, "T0846")


def _tables(at: str, document: Mapping[str, Any], name: str) -> list[tuple[str, Mapping[str, Any]]]:
    tables = document.get(name, {})
    if not isinstance(tables, Mapping) or not all(isinstance(entry, Mapping) for entry in tables.values()):
        raise Misconfigured(f"{at}: got no tables under {name!r}, expected `[{name}.NAME]`")
    return list(tables.items())


def _list(at: str, entry: Mapping[str, Any], name: str) -> list[Any]:
    listed = entry.get(name, [])
    if not isinstance(listed, list):
        raise Misconfigured(f"{at}: got {listed!r} as `{name}`, expected a list")
    return listed


def _text(at: str, entry: Mapping[str, Any], name: str) -> str:
    text = entry[name]
    if not isinstance(text, str) or not text.strip() or not text.isprintable() or len(text) > MAX_TEXT:
        raise Misconfigured(f"{at}: got {text!r:.200} as `{name}`, expected a line of {MAX_TEXT} characters at most")
    return text


def _expect_keys(at: str, entry: Mapping[str, Any], keys: tuple[str, ...]) -> None:
    if unheard := sorted(set(entry) - set(keys)):
        raise Misconfigured(f"{at}: got {_listed(unheard):.200}, expected of {_listed(keys)}")


def _listed(names: Any) -> str:
    return ", ".join(names)
