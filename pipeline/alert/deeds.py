"""What the flows of an incident did: who used which service, of whom, how often, and how that went; bounded."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pipeline.alert.done import COUNTS, Done

MAX_DEEDS = 256
MAX_TARGETS = 2_048
"""Of all deeds of an incident together."""
MAX_FUNCTIONS = 16
"""Of a deed."""


@dataclass(slots=True)
class Deed:
    """Flows from one address by one service.

    ip_proto, ether_type, port: -1 where there is none, or it is not known. industrial: the protocol whose requests the
    sensor read, else empty. directed: whether it is known that the source asked. targets: flows by address, not all
    where `more_targets`. opened: flows in which the opening of a TCP connection was seen; unanswered: in which only the
    source spoke, to one device; refused: whose connection was. attempts: SYNs of whoever sent more. functions: how
    often each was asked for, by code.
    """

    source: str
    ip_proto: int
    ether_type: int
    port: int
    industrial: str
    directed: bool
    flows: int = 0
    opened: int = 0
    unanswered: int = 0
    refused: int = 0
    attempts: int = 0
    reads: int = 0
    writes: int = 0
    controls: int = 0
    exceptions: int = 0
    targets: dict[str, int] = field(default_factory=dict)
    more_targets: bool = False
    functions: dict[int, int] = field(default_factory=dict)
    more_functions: bool = False


@dataclass(slots=True)
class Deeds:
    """The deeds of an incident, the first 256 in the order of its flows."""

    of: dict[str, Deed] = field(default_factory=dict)

    @property
    def flows(self) -> int:
        """Flows that are in a deed; the incident has more where it has more deeds."""
        return sum(deed.flows for deed in self.of.values())

    def add(self, done: Done, part: int) -> None:
        """Add the flows of a part, in the order they count: what is distinct of them, and of that what fits."""
        of, deeds = done.deeds.of(part), dict[int, Deed]()
        for number, name in enumerate(done.names[of], of.start):
            deed = self.of.get(name)
            if deed is None:
                if len(self.of) >= MAX_DEEDS:
                    continue
                deed = self.of[name] = _deed(done, int(done.deeds.first[number]))
            deeds[number] = deed
            for count, more in zip(("flows", *COUNTS), done.counts[number].tolist(), strict=True):
                if more:
                    setattr(deed, count, getattr(deed, count) + more)
        self._add_targets(deeds, done, done.pairs.of(part))
        _add_functions(deeds, done, done.asked.of(part))

    def _add_targets(self, deeds: Mapping[int, Deed], done: Done, of: slice) -> None:
        """Add the targets of these deeds, by their number."""
        free = MAX_TARGETS - sum(len(deed.targets) for deed in self.of.values())
        for number, target, flows in zip(done.deed_of_pair[of], done.targets[of], done.pairs.flows[of], strict=True):
            deed = deeds.get(number)
            if deed is None:
                continue
            if target in deed.targets:
                deed.targets[target] += flows
            elif free > 0:
                deed.targets[target] = flows
                free -= 1
            else:
                deed.more_targets = True

    def as_document(self) -> list[list[Any]]:
        """As JSON values, for the saved state."""
        names = [name for name in Deed.__slots__ if name != "functions"]
        return [
            [key, [getattr(deed, name) for name in names], [[code, count] for code, count in deed.functions.items()]]
            for key, deed in self.of.items()
        ]

    @classmethod
    def of_document(cls, document: list[list[Any]]) -> "Deeds":
        """What `as_document` wrote."""
        names = [name for name in Deed.__slots__ if name != "functions"]
        of = {}
        for key, values, functions in document:
            of[key] = Deed(
                **dict(zip(names, values, strict=True)), functions={code: count for code, count in functions}
            )
        return cls(of)


def _deed(done: Done, at: int) -> Deed:
    """The deed that the flow of the row `at` is of."""
    source, ip_proto, ether_type, port, industrial = (column.at(at) for column in done.who)
    return Deed(source, ip_proto, ether_type, port, industrial, bool(done.directed[at]))


def _add_functions(deeds: Mapping[int, Deed], done: Done, of: slice) -> None:
    """Add the functions that these deeds, by their number, asked for."""
    for number, code, times in zip(done.deed_of_function[of], done.codes[of], done.times[of], strict=True):
        deed = deeds.get(number)
        if deed is None:
            continue
        if code in deed.functions or len(deed.functions) < MAX_FUNCTIONS:
            deed.functions[code] = deed.functions.get(code, 0) + times
        else:
            deed.more_functions = True
