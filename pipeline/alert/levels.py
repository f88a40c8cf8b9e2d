"""How strong a suspect is by itself: the level that decides whether its incident pages somebody.

An order, not a frequency. A level is a fact of the row alone, so the same in any batch and every replay.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.alert.shown_evidence import ShownFlows
from pipeline.alert.techniques import Meanings
from pipeline.contracts.baseline import Evidence
from pipeline.contracts.class_names import is_name
from pipeline.contracts.public_addresses import is_public
from pipeline.runtime.wire.batches import filled

Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

FAINT, SLIGHT, CLEAR, CERTAIN, GRAVE = range(5)
LEVELS = 5
LEVEL_NAMES = ("faint", "slight", "clear", "certain", "grave")

HARDWARE, CONTROL, DEVICE, BYTES, USE, STRANGE = "hardware", "control", "device", "bytes", "use", "strange"
BY_EVIDENCE = (
    (Evidence.NEW_CONTROLLER, GRAVE, CONTROL),
    (Evidence.SEVERAL_HARDWARE, CERTAIN, HARDWARE),
    (Evidence.NEW_WRITER, CERTAIN, CONTROL),
    (Evidence.NEW_HARDWARE, CLEAR, HARDWARE),
    (Evidence.NEW_DEVICE, CLEAR, DEVICE),
    (Evidence.MORE_BYTES, CLEAR, BYTES),
    (Evidence.NEW_FUNCTION, SLIGHT, CONTROL),
    (Evidence.NEW_SERVICE_USE, SLIGHT, USE),
    (Evidence.STRANGE, FAINT, STRANGE),
)
"""Kinds of evidence, the level of each, and what it is about: what is alike there is the same again."""
SEVERAL_WRITERS = 2
"""A host that uses a device already and now writes to it, as so many others do, is clear, not certain."""
STRONG_P_VALUE = 5e-4
"""Up to it a suspect without a name is clear: a quarter of the alert level; the shipped tables end at 2e-4."""
BY_SEVERITY = (FAINT, FAINT, SLIGHT, CLEAR, CERTAIN, GRAVE)
"""Level of a flow that is named, by the severity_id of its class."""
MANY, FLOOD = 16, 4_096
"""So many flows weigh a level more; so many are certain, whatever they are."""
PUBLIC = "a public address"
"""All public addresses count as one actor: those of a flood are made up."""


def levels_of(flows: ShownFlows, meanings: Meanings) -> Ints:
    """(n,) the level of each suspect: by its evidence where its baseline shows any, and its name."""
    shown = flows.shown
    by_evidence = np.full(len(shown), FAINT, np.int64)
    for bit, level, _ in BY_EVIDENCE:
        by_evidence = np.where(_has(shown, bit), np.maximum(by_evidence, level), by_evidence)
    is_unlike_too = _has(shown, Evidence.NEW_SERVICE_USE) & _has(shown, Evidence.STRANGE)
    by_evidence = np.where(is_unlike_too, np.maximum(by_evidence, CLEAR), by_evidence)
    is_device_at_work = _has(shown, Evidence.NEW_DEVICE) & _has(shown, Evidence.NEW_SERVICE_USE)
    by_evidence = np.where(is_device_at_work, np.maximum(by_evidence, CERTAIN), by_evidence)
    by_evidence = np.where(_is_usual_writer(flows), CLEAR, by_evidence)
    by_name, is_named = _by_class(flows.rows, meanings)
    # Where a baseline shows a flow that the model cannot name, the model has said nothing of it.
    by_class = np.where(is_named | (shown == 0), by_name, FAINT)
    levels: Ints = np.maximum(by_evidence, by_class)
    return levels


def _has(evidence: npt.NDArray[np.uint32], bits: Evidence) -> Flags:
    has: Flags = (evidence & np.uint32(bits)) != 0
    return has


def _is_usual_writer(flows: ShownFlows) -> Flags:
    """Who writes for the first time, and uses the device already, and is not alone in it; and nothing stronger."""
    is_new = _has(flows.evidence, Evidence.NEW_SERVICE_USE | Evidence.NEW_HOST | Evidence.NEW_DEVICE)
    is_more = _has(flows.shown, Evidence.NEW_CONTROLLER | Evidence.SEVERAL_HARDWARE | Evidence.NEW_HARDWARE)
    several: Flags = filled(flows.rows, "others", 0) >= SEVERAL_WRITERS
    return _has(flows.shown, Evidence.NEW_WRITER) & ~is_new & ~is_more & several


def _by_class(rows: pa.RecordBatch, meanings: Meanings) -> tuple[Ints, Flags]:
    """(n,) levels by what the model says of rows, and whether it names them."""
    classes = rows.column("class").dictionary_encode()
    names, codes = classes.dictionary.to_pylist(), classes.indices.to_numpy(zero_copy_only=False)
    named = np.asarray([is_name(name) for name in names], np.bool_)
    levels = np.asarray(
        [BY_SEVERITY[meanings.of(name).severity_id] if is_name(name) else SLIGHT for name in names], np.int64
    )
    p_value = np.nan_to_num(rows.column("p_value").to_numpy(zero_copy_only=False), nan=1.0)
    return np.where(~named[codes] & (p_value <= STRONG_P_VALUE), CLEAR, levels[codes]), named[codes]


def levels_after(reached: int, before: Sequence[int], levels: Ints, grows: Flags) -> Ints:
    """(n,) the level that an incident has reached after each of its fresh flows.

    reached: its level so far, -1 for none. before: (LEVELS,) flows of each level it has that add up. levels, grows:
    (n,) of its fresh flows.
    """
    after = np.maximum(np.maximum.accumulate(levels), reached)
    for level in range(CERTAIN):
        flows = sum(before[level:]) + np.cumsum((levels >= level) & grows)
        after = np.where(flows >= MANY, np.maximum(after, level + 1), after)
        after = np.where(flows >= FLOOD, np.maximum(after, CERTAIN), after)
    return after


def grown(level: int, flows: int) -> int:
    """The level of so many flows that are of a level each."""
    if level >= CERTAIN or flows < MANY:
        return level
    return level + 1 if flows < FLOOD else CERTAIN


def grows(flows: ShownFlows, levels: Ints) -> Flags:
    """(n,) whether more flows of the kind say more: not where each poll of a device shows its new hardware again."""
    again: Flags = _has(flows.shown, Evidence.NEW_HARDWARE) & (levels == CLEAR)
    return ~again


class Sign(NamedTuple):
    """What an incident is about, by the flow that speaks loudest: two incidents with the same are the same again.

    device: the host whose service was used, where nobody is known to use it; else empty.
    """

    kind: str
    actor: str
    device: str


def sign_of(flows: ShownFlows, at: int) -> Sign:
    """What a flow is about, the one of the row `at`."""
    facts = {name: flows.rows.column(name)[at].as_py() for name in ("src_addr", "dst_addr", "others", "class")}
    shown, evidence = Evidence(int(flows.shown[at])), Evidence(int(flows.evidence[at]))
    kind = next((kind for bit, _, kind in BY_EVIDENCE if bit & shown), "")
    if is_name(facts["class"]) or not kind:
        kind = str(facts["class"])
    user, owner = ("dst_addr", "src_addr") if flows.answers[at] else ("src_addr", "dst_addr")
    if kind == HARDWARE:
        address = facts["dst_addr" if evidence & Evidence.AT_TARGET else "src_addr"]
        return Sign(kind, _as_actor(address), address)
    is_first = bool(evidence & Evidence.NEW_SERVICE_USE) and facts["others"] == 0 and not is_public(facts[owner])
    return Sign(kind, _as_actor(facts[user]), facts[owner] if is_first else "")


def _as_actor(address: str) -> str:
    return PUBLIC if is_public(address) else address
