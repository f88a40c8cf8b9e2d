"""Who made a network card, by the first three bytes of its address: IEEE's table, from the package `aiooui`."""

import asyncio
import importlib
import importlib.util
from collections.abc import Callable
from functools import cache

from pipeline.alert.endpoints import is_mac

SET_LOCALLY = 2
"""Bit of the first byte: somebody chose the address, as virtual machines and phones do; no maker has it."""
REGISTRY = "IEEE REGISTRATION AUTHORITY"
"""Whose blocks are divided among many makers: the first three bytes do not say which."""


def vendor(mac: str | None) -> str | None:
    """The maker of the card with an address; None where the table does not say."""
    if mac is None or not is_mac(mac) or int(mac[:2], 16) & SET_LOCALLY:
        return None
    name = _table()(mac.lower())
    return None if name is None or name.upper() == REGISTRY else name.strip(" ,")


def has_table() -> bool:
    """Whether the package is installed; without it no maker is known."""
    return importlib.util.find_spec("aiooui") is not None


@cache
def _table() -> Callable[[str], str | None]:
    if not has_table():
        return lambda _mac: None
    table = importlib.import_module("aiooui")
    asyncio.run(table.async_load())
    lookup: Callable[[str], str | None] = table.get_vendor
    return lookup
