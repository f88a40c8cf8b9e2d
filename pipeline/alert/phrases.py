"""The phrases of which an alert's sentence is made, from `phrases.toml`."""

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from string import Template

from pipeline.errors import Misconfigured

Phrases = Mapping[str, Template]
"""By table and name: `clauses.opened`."""

_FLOWS = frozenset({"count", "flows", "service", "what", "ports", "targets"})
WORDS: Mapping[str, frozenset[str]] = {
    **{f"clauses.{name}": _FLOWS for name in ("opened", "had", "exchanged", "sent", "tried", "shared")},
    "clauses.requests": frozenset({"functions", "targets", "protocol", "flows"}),
    **{f"outcomes.{name}": frozenset({"count"}) for name in ("unanswered_some", "refused_some")},
    **{f"outcomes.{name}": frozenset[str]() for name in ("unanswered", "refused")},
    "outcomes.attempts": frozenset({"attempts"}),
    "outcomes.exceptions": frozenset({"times"}),
    "requests.function": frozenset({"says", "code", "times"}),
    "requests.further": frozenset({"count"}),
    **{f"requests.{name}": frozenset({"times"}) for name in ("controls", "writes", "reads")},
    **{f"rest.{name}": frozenset({"count", "subject", "others"}) for name in ("same", "others")},
    **{f"rest.{name}": frozenset({"subject", "others"}) for name in ("one_same", "one_others")},
    **{f"rest.{name}": frozenset({"protocols"}) for name in ("no_ports", "some_ports")},
    "sentence.facts": frozenset({"clauses", "lasted", "since", "where"}),
    **{f"sentence.{name}": frozenset({"duration"}) for name in ("lasted", "lasted_one")},
    "sentence.new": frozenset({"evidence"}),
    "sentence.unusual": frozenset({"reasons"}),
    "sentence.named": frozenset({"name", "sure"}),
    **{f"sentence.{name}": frozenset({"flows", "name", "sure"}) for name in ("named_some", "named_one")},
    "sentence.also": frozenset({"flows", "name"}),
    "sentence.technique": frozenset({"techniques"}),
    "sentence.not_calibrated": frozenset({"name"}),
    "sentence.not_known": frozenset[str](),
}
"""Every phrase, and the words that may stand in it."""


def read_phrases(text: str) -> Phrases:
    """The phrases in a TOML text; Misconfigured names what is wrong."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise Misconfigured(f"phrases.toml: got no TOML ({error}); correct it") from error
    got = {
        f"{table}.{name}": phrase
        for table, phrases in document.items()
        if isinstance(phrases, dict)
        for name, phrase in phrases.items()
    }
    if set(got) != set(WORDS):
        raise Misconfigured(
            f"phrases.toml: got {sorted(set(got) - set(WORDS))} too many and {sorted(set(WORDS) - set(got))} too few; "
            "compare with the shipped file"
        )
    return {name: _template(name, phrase) for name, phrase in got.items()}


def _template(name: str, phrase: object) -> Template:
    template = Template(str(phrase))
    unknown = set(template.get_identifiers()) - WORDS[name]
    if unknown or not template.is_valid():
        raise Misconfigured(f"phrases.toml {name}: got {sorted(unknown)}, expected of {sorted(WORDS[name])}")
    return template


@cache
def shipped_phrases() -> Phrases:
    """The phrases shipped with Forebay."""
    return read_phrases(files("pipeline.alert").joinpath("phrases.toml").read_text(encoding="utf-8"))
