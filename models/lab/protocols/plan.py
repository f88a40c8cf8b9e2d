"""What a protocol is to the runner: a list of fits to do, and how each is done."""

from functools import cache
from pathlib import Path
from typing import Any, Protocol

from models.lab.protocols.fit import Unit
from models.lab.tables import nsl_kdd
from models.lab.tables.table import Table


class Plan(Protocol):
    """A protocol with its options: plain data, so that worker processes can be given it."""

    @property
    def name(self) -> str:
        """The protocol's name."""
        ...

    def units(self) -> list[Unit]:
        """Every fit, in the order they are done."""
        ...

    def document(self, unit: Unit) -> dict[str, Any]:
        """Do one fit: what is stored of it. Tables are read once a process."""
        ...


@cache
def nsl_kdd_table(folder: Path, name: str) -> Table:
    """A table of NSL-KDD, read once a process."""
    return nsl_kdd.load(folder, name)
