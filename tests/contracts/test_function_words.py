import pytest

from pipeline.contracts.function_words import (
    function_weight,
    function_words,
    industrial_name,
    read_function_words,
    shipped_function_words,
)
from pipeline.errors import Misconfigured
from pipeline.ingest.formats.functions import CONTROL, WRITE, all_functions
from schemas.fields import load

MERGED = {"s7comm-plus": "s7comm"}
"""Protocols of the table of functions whose flows bear another's name."""


def test_every_function_that_is_read_from_logs_has_words() -> None:
    words = shipped_function_words()
    for proto, functions in all_functions().items():
        known = words[MERGED.get(proto, proto)].functions
        assert set(functions.access) <= set(known), proto


def test_what_changes_a_device_is_so_in_both_tables() -> None:
    for proto, functions in all_functions().items():
        for code, access in functions.access.items():
            weight = 2 if access & CONTROL else int(bool(access & WRITE))
            assert function_weight(MERGED.get(proto, proto), code) == weight, (proto, code)


def test_every_industrial_protocol_has_a_name() -> None:
    [field] = [field for field in load("flow").fields if field.name == "ics_proto"]
    assert set(field.enum) == set(shipped_function_words())
    assert all(industrial_name(proto) != proto for proto in field.enum)


def test_words_follow_who_asked() -> None:
    assert function_words("modbus", 16) == "wrote registers"
    assert function_words("modbus", 99) == "used a function"
    assert function_words(None, 16) == "used a function"
    assert industrial_name(None) == "an industrial protocol"
    assert industrial_name("newer") == "newer"


@pytest.mark.parametrize("text", ["nonsense", "[a]", '[a]\nname = "A"\nx = "y"', '[a]\nname = "A"\n1 = 2'])
def test_a_wrong_table_is_named(text: str) -> None:
    with pytest.raises(Misconfigured, match="function_words"):
        read_function_words(text)
