"""What the flows of an incident say is new at their sensor: counts, and of each kind the flow that says it best."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.contracts.baseline import SHOWN, Evidence, shown_evidence
from pipeline.contracts.initiators import answering
from pipeline.runtime.wire.batches import filled

DESCRIBES = Evidence.NEW_COMMON_USE | Evidence.NEW_HOST | Evidence.NEW_TALK
"""Evidence that makes no suspect, and says something about one."""
SAID = tuple(bit for bit in Evidence if bit & (SHOWN | DESCRIBES))
"""The kinds of evidence that there is a sentence for."""
MAX_FUNCTIONS = 8

FACTS = (
    *("src_addr", "dst_addr", "src_port", "dst_port", "ip_proto", "ether_type", "src_mac", "dst_mac"),
    *("src_mac_count", "dst_mac_count", "fwd_bytes", "rev_bytes", "ics_proto", "source_type"),
    *("conn_state", "fwd_tcp_flags"),
    *("evidence", "others", "baseline", "ics_functions", "strangeness", "strange_from"),
)


def name_of(bit: Evidence) -> str:
    """The name of a kind of evidence in files: `new_writer`."""
    return str(bit.name).lower()


@dataclass(frozen=True, slots=True)
class Example:
    """The facts of one flow that its evidence speaks of.

    functions: codes of the industrial functions it asked for, the first eight. strangeness: None where no usual kind
    of flow is known. answers: whether it goes from a service to who uses it (contracts/initiators.py); None in states
    of versions before.
    """

    src_addr: str
    dst_addr: str
    src_port: int | None
    dst_port: int | None
    ip_proto: int | None
    ether_type: int | None
    src_mac: str | None
    dst_mac: str | None
    src_mac_count: int | None
    dst_mac_count: int | None
    fwd_bytes: int | None
    rev_bytes: int | None
    ics_proto: str | None
    source_type: str
    conn_state: str
    fwd_tcp_flags: int | None
    evidence: int
    others: int | None
    baseline: int | None
    functions: list[int]
    strangeness: float | None
    strange_from: float | None
    answers: bool | None = None


class ShownFlows(NamedTuple):
    """What their sensor's baseline shows of n flows.

    rows: they (schema `scored`). facts: the columns that an `Example` is made of. evidence: (n,) of each. shown: (n,)
    what of it makes it a suspect; said: (n,) what is said of it, 0 where nothing is shown. strangeness: (n,) infinite
    where none is known. answers: (n,) see `Example`.
    """

    rows: pa.RecordBatch
    facts: dict[str, pa.Array]
    evidence: npt.NDArray[np.uint32]
    shown: npt.NDArray[np.uint32]
    said: npt.NDArray[np.uint32]
    strangeness: npt.NDArray[np.float32]
    answers: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, rows: pa.RecordBatch, answers: npt.NDArray[np.bool_]) -> "ShownFlows":
        """What is shown of the rows (schema `scored`); `answers`: (n,) what `answering` says of them."""
        evidence = filled(rows, "evidence", 0)
        shown = shown_evidence(filled(rows, "phase", 0), evidence)
        said = shown | np.where(shown != 0, evidence & np.uint32(DESCRIBES), np.uint32(0))
        strangeness = np.nan_to_num(filled(rows, "strangeness", np.inf), nan=np.inf, posinf=np.inf)
        return cls(rows, _facts(rows), evidence, shown, said, strangeness, answers)


@dataclass(slots=True)
class ShownEvidence:
    """Of an incident's flows those that their sensor's baseline shows.

    flows: how many. counts: of these by kind of evidence. examples: of each kind the first, of `strange` the strangest.
    """

    flows: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    examples: dict[str, Example] = field(default_factory=dict)

    def add(self, flows: ShownFlows, of: slice) -> None:
        """Add some of the flows, in the order they count."""
        said = flows.said[of]
        self.flows += int(np.count_nonzero(said))
        kinds = int(np.bitwise_or.reduce(said))
        for bit in SAID:
            if bit.value & kinds:
                at = np.flatnonzero(said & np.uint32(bit))
                name = name_of(bit)
                self.counts[name] = self.counts.get(name, 0) + len(at)
                self._add_example(name, bit, flows, of.start + at)

    def _add_example(self, name: str, bit: Evidence, flows: ShownFlows, at: npt.NDArray[np.int64]) -> None:
        before = self.examples.get(name)
        if bit != Evidence.STRANGE:
            if before is None:
                self.examples[name] = _example(flows.facts, int(at[0]), bool(flows.answers[at[0]]))
            return
        strangest = int(at[np.argmax(flows.strangeness[at])])
        if before is None or _or_infinite(before.strangeness) < float(flows.strangeness[strangest]):
            self.examples[name] = _example(flows.facts, strangest, bool(flows.answers[strangest]))

    def as_document(self) -> dict[str, Any]:
        """As JSON values, for the saved state."""
        examples = {
            kind: [getattr(example, name) for name in Example.__slots__] for kind, example in self.examples.items()
        }
        return {"flows": self.flows, "counts": self.counts, "examples": examples}

    @classmethod
    def of_document(cls, document: dict[str, Any]) -> "ShownEvidence":
        """What `as_document` wrote."""
        examples = {kind: Example(*values) for kind, values in document["examples"].items()}
        return cls(int(document["flows"]), dict(document["counts"]), examples)


def example_of(rows: pa.RecordBatch, at: int) -> Example:
    """The facts of one row (schema `features` or `scored`)."""
    return _example(_facts(rows), at, bool(answering(rows.slice(at, 1))[0]))


def _facts(rows: pa.RecordBatch) -> dict[str, pa.Array]:
    return {name: rows.column(name) for name in FACTS}


def _example(columns: Mapping[str, pa.Array], at: int, answers: bool) -> Example:
    facts = {name: column[at].as_py() for name, column in columns.items()}
    functions = facts.pop("ics_functions") or []
    for name in ("strangeness", "strange_from"):
        facts[name] = _or_none(facts[name])
    # Code, count, code, count and so on.
    return Example(**facts, functions=functions[: 2 * MAX_FUNCTIONS : 2], answers=answers)


def _or_none(distance: float | None) -> float | None:
    return distance if distance is not None and np.isfinite(distance) else None


def _or_infinite(distance: float | None) -> float:
    return float("inf") if distance is None else distance
