"""What industrial functions do, in words, from `function_words.toml`."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from pipeline.errors import Misconfigured

CHANGES = ("controls", "writes")


@dataclass(frozen=True, slots=True)
class ProtocolWords:
    """An industrial protocol by name, and what its functions do, by code; which of them change a device, or write."""

    name: str
    functions: Mapping[int, str]
    controls: frozenset[int]
    writes: frozenset[int]


def read_function_words(text: str) -> Mapping[str, ProtocolWords]:
    """The words in a TOML text, by `ics_proto`; Misconfigured names what is wrong."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise Misconfigured(f"function_words.toml: got no TOML ({error}); correct it") from error
    words = {}
    for proto, table in document.items():
        codes = {code: says for code, says in table.items() if code not in ("name", *CHANGES)}
        wrong = [code for code, says in codes.items() if not code.isdecimal() or not isinstance(says, str) or not says]
        if wrong or not isinstance(table.get("name"), str):
            raise Misconfigured(f"function_words.toml {proto}: got {wrong}, expected a name, and words for each number")
        functions = {int(code): says for code, says in codes.items()}
        words[proto] = ProtocolWords(table["name"], functions, *(frozenset(table.get(name, ())) for name in CHANGES))
    return words


@cache
def shipped_function_words() -> Mapping[str, ProtocolWords]:
    """The words shipped with Forebay."""
    return read_function_words(files("pipeline.contracts").joinpath("function_words.toml").read_text(encoding="utf-8"))


def industrial_name(ics_proto: str | None) -> str:
    """An industrial protocol by name: `Modbus`."""
    if not ics_proto:
        return "an industrial protocol"
    words = shipped_function_words().get(ics_proto)
    return words.name if words else ics_proto


def function_words(ics_proto: str | None, code: int) -> str:
    """What a function does: `wrote registers`; of one without words, that it was used."""
    words = shipped_function_words().get(ics_proto or "")
    return words.functions[code] if words and code in words.functions else "used a function"


def function_weight(ics_proto: str | None, code: int) -> int:
    """2 where a function changes a device, 1 where it writes values, else 0."""
    words = shipped_function_words().get(ics_proto or "")
    return 0 if words is None else 2 if code in words.controls else int(code in words.writes)
