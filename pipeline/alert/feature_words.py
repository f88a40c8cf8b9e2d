"""Features in plain words, from `feature_words.toml`: what the flows had, and what is usual."""

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from string import Template

from pipeline.alert.explain import Reason
from pipeline.alert.wording import measured, usual
from pipeline.errors import Misconfigured

WORDS = frozenset({"value", "usual"})
NONE = "none"
COUNTED = frozenset({"flows", "packets", "peers", "changes", "ends", "hosts", "services", "requests", "codes", "units"})
"""Units of numbers of things: where there are none, one says so; where it fades, it is about so many."""
UNITLESS = frozenset({*COUNTED, "bytes", "packets/s", "MACs", "points", "score"})
"""Units that the phrases say themselves."""

FeatureWords = Mapping[str, tuple[Template, Template | None]]
"""By feature: the phrase, and of yes or no that for no."""


def read_feature_words(text: str) -> FeatureWords:
    """The words in a TOML text; Misconfigured names what is wrong."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise Misconfigured(f"feature_words.toml: got no TOML ({error}); correct it") from error
    words: dict[str, tuple[Template, Template | None]] = {}
    for name, says in document.items():
        phrases = [Template(str(phrase)) for phrase in (says if isinstance(says, list) else [says])]
        good = all(phrase.is_valid() and set(phrase.get_identifiers()) <= WORDS for phrase in phrases)
        if len(phrases) != 1 + isinstance(says, list) or not good:
            raise Misconfigured(
                f"feature_words.toml {name}: got {says!r}, expected a phrase, or two for yes and no, with $value and "
                "$usual at most"
            )
        words[name] = phrases[0], phrases[1] if len(phrases) > 1 else None
    return words


@cache
def shipped_feature_words() -> FeatureWords:
    """The words shipped with Forebay."""
    return read_feature_words(files("pipeline.alert").joinpath("feature_words.toml").read_text(encoding="utf-8"))


def reason_words(reason: Reason) -> str:
    """A reason in a phrase: `new partners spoken to: 13; usually none`. A feature without words is named as it is."""
    # Where fewer than half of the flows are out of the range, their median is not: then the one furthest out is said.
    is_out = not reason.usual_low <= reason.observed <= reason.usual_high
    observed = reason.observed if is_out else reason.extreme
    value, normal = _value(observed, reason.unit), _usual(reason.usual_low, reason.usual_high, reason.unit)
    phrases = shipped_feature_words().get(reason.feature)
    if phrases is None:
        range_ = usual(reason.usual_low, reason.usual_high, reason.unit)
        return f"{reason.label}: {measured(observed, reason.unit)}, usually {range_}"
    says, says_no = phrases
    chosen = says if says_no is None or observed >= 0.5 else says_no
    some = "" if reason.share >= 0.995 else f" (in {max(reason.share * 100, 1):.0f} % of its flows)"
    return chosen.substitute(value=value, usual=normal) + some


def _value(value: float, unit: str) -> str:
    if unit not in UNITLESS:
        return measured(value, unit)
    if unit in COUNTED and value >= 1:
        return f"{value:,.0f}"
    if unit in COUNTED and value > 0:  # one, and some of it has faded
        return "about 1"
    return measured(value, "")


def _usual(low: float, high: float, unit: str) -> str:
    first, last = _value(low, unit), _value(high, unit)
    if unit in COUNTED and high < 0.5:
        return NONE
    if unit not in UNITLESS:
        return usual(low, high, unit)
    return first if first == last else f"{first} to {last}"
