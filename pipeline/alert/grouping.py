"""Suspects become groups, groups become incidents: who belongs to which, decided per sensor in event time.

The order of decisions is by the sensor's clock: a flow on time counts at its `end_ts_us`, a late one at the watermark
it met (`end_ts_us + late_by_us`), late ones first where equal. That order does not depend on how rows came in batches.
"""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from importlib.resources import files
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.alert.distinct import Coded, of_distinct, within
from pipeline.alert.kernel import NONE, Linked, link
from pipeline.contracts.baseline import SHOWN, Evidence, shown_evidence
from pipeline.contracts.group_addresses import GROUP_ADDRESS, GROUP_MAC
from pipeline.contracts.initiators import answering
from pipeline.contracts.whole_numbers import integers
from pipeline.errors import Misconfigured
from pipeline.runtime.wire.batches import filled

Ints = npt.NDArray[np.int64]
KEY_PARTS = ("class_group", "class", "actor", "target", "pair", "service")
COUNTS = ("open_count", "max_open", "max_waiting", "max_tokens", "update_growth")
LINKS = ("mac", "address", "none")
SEPARATOR = "\x1f"


@dataclass(frozen=True, slots=True)
class Grouping:
    """When suspects are one incident; `grouping.toml` says what each value means."""

    link: str = "mac"
    key: tuple[str, ...] = ()
    open_count: int = 2
    strong_p_value: float = 0.0
    opening_evidence: tuple[str, ...] = ()
    opening_ports: tuple[int, ...] = ()
    gap_us: int = 45_000_000
    update_every_us: int = 1_000_000
    update_growth: int = 4
    update_after_us: int = 3_600_000_000
    max_open: int = 64
    max_waiting: int = 2048
    max_tokens: int = 256
    open_count_of: Mapping[str, int] = field(default_factory=dict)
    class_groups: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        unknown = [part for part in self.key if part not in KEY_PARTS]
        if unknown:
            raise Misconfigured(f"grouping key: got {unknown}, expected some of {', '.join(KEY_PARTS)}")
        if self.link not in LINKS:
            raise Misconfigured(f"grouping link: got {self.link!r}, expected {', '.join(LINKS)}")
        counts = {name: getattr(self, name) for name in COUNTS}
        counts |= {f"open_count_of.{name}": count for name, count in self.open_count_of.items()}
        for name, value in counts.items():
            if value < 1:
                raise Misconfigured(f"grouping {name}: got {value}, expected 1 or more")
        for combination in self.opening_evidence:
            evidence_of(combination)
        if strange := [port for port in self.opening_ports if not -1 <= port <= 65_535]:
            raise Misconfigured(f"grouping opening_ports: got {strange}, expected ports, or -1 for one not known")
        for name in ("gap_us", "update_every_us", "update_after_us"):
            if getattr(self, name) < 0:
                raise Misconfigured(f"grouping {name}: got {getattr(self, name)}, expected 0 or more microseconds")


def load_grouping(text: str | None = None) -> Grouping:
    """The parameters in a TOML text; without one, the shipped `grouping.toml`. Misconfigured names what is wrong."""
    shipped = files("pipeline.alert").joinpath("grouping.toml")
    document = tomllib.loads(shipped.read_text(encoding="utf-8") if text is None else text)
    unknown = set(document) - {field.name for field in fields(Grouping)}
    if unknown:
        raise Misconfigured(f"grouping.toml: got {', '.join(sorted(unknown))}, expected fields of Grouping only")
    for name in ("key", "opening_evidence", "opening_ports"):
        if name in document:
            document[name] = tuple(document[name])
    return Grouping(**document)


@dataclass(slots=True)
class Group:
    """A group from earlier batches: its tokens, the time of its last flow, and its evidence."""

    tokens: list[str]
    last_clock_us: int
    evidence: float
    is_open: bool
    is_crowd: bool = False


def clock_of(rows: pa.RecordBatch) -> Ints:
    """The sensor's clock when each row counts, in microseconds of event time."""
    clock_us: Ints = rows.column("end_ts_us").to_numpy() + rows.column("late_by_us").to_numpy()
    return clock_us


def clock_order(rows: pa.RecordBatch, bounds: Ints, not_before_us: Ints) -> tuple[Ints, Ints]:
    """The order in which each of several sensors' rows count, and the clock of each in that order.

    bounds: (sensors + 1,) where each sensor's rows begin. not_before_us: (sensors,) from where on its clock is.
    """
    clock_us, on_time = clock_of(rows), rows.column("late_by_us").to_numpy() == 0
    sensor = np.repeat(np.arange(len(not_before_us)), np.diff(bounds))
    order = np.lexsort((np.arange(len(clock_us)), on_time, clock_us, sensor))
    return order, np.maximum(clock_us[order], not_before_us[sensor])


def tokens_of(rows: pa.RecordBatch, grouping: Grouping) -> list[pa.Array]:
    """What links each row to others: one or two columns of strings, null where it is nothing; never null in all."""
    key = pc.binary_join_element_wise("", *(_part(rows, name, grouping) for name in grouping.key), SEPARATOR)
    if isinstance(key, pa.Scalar):
        key = pa.repeat(key, rows.num_rows)
    if grouping.link == "none":
        return [key]
    ends = _both_unless(rows, "src_addr", "dst_addr", GROUP_ADDRESS, GROUP_MAC)
    # A flow between two such addresses still belongs to a group.
    nowhere = pc.and_(pc.is_null(ends[0]), pc.is_null(ends[1]))
    ends[0] = pc.if_else(nowhere, rows.column("src_addr"), ends[0])
    if grouping.link == "mac":
        macs = _both_unless(rows, "src_mac", "dst_mac", GROUP_MAC)
        unknown = pc.and_(pc.is_null(macs[0]), pc.is_null(macs[1]))
        ends = [pc.if_else(unknown, end, mac) for end, mac in zip(ends, macs, strict=True)]
    return [pc.binary_join_element_wise(key, end, SEPARATOR) for end in ends]


def keys_of(rows: pa.RecordBatch, grouping: Grouping) -> pa.Array:
    """The text that names each row's incident: the key, and with link "none" nothing else."""
    return tokens_of(rows, Grouping(link="none", key=grouping.key, class_groups=grouping.class_groups))[0]


def _both_unless(rows: pa.RecordBatch, name_a: str, name_b: str, *patterns: str) -> list[pa.Array]:
    """Two columns of strings, null where a pattern matches."""

    def without(distinct: pa.Array) -> pa.Array:
        matches = pc.match_substring_regex(distinct, "|".join(patterns))
        return pc.if_else(matches, pa.scalar(None, distinct.type), distinct)

    both = of_distinct(pa.concat_arrays([rows.column(name_a), rows.column(name_b)]), without)
    return [both[: rows.num_rows], both[rows.num_rows :]]


def _part(rows: pa.RecordBatch, name: str, grouping: Grouping) -> pa.Array:
    if name == "actor":
        return rows.column("src_addr")
    if name == "target":
        return rows.column("dst_addr")
    if name == "service":
        return pc.fill_null(rows.column("dst_port").cast(pa.string()), "-")
    if name == "class":
        return rows.column("class")
    if name == "class_group":
        classes = rows.column("class").dictionary_encode()
        groups = [grouping.class_groups.get(name, name) for name in classes.dictionary.to_pylist()]
        return pa.array(groups, pa.string()).take(classes.indices)
    source, target = rows.column("src_addr"), rows.column("dst_addr")
    swapped = pc.greater(source, target)
    first, second = pc.if_else(swapped, target, source), pc.if_else(swapped, source, target)
    return pc.binary_join_element_wise(first, second, SEPARATOR)


def evidence_of(combination: str) -> Evidence:
    """The evidence that a text such as `new_service_use + strange` names; Misconfigured where it names none."""
    evidence = Evidence(0)
    for name in combination.split("+"):
        try:
            evidence |= Evidence[name.strip().upper()]
        except KeyError:
            known = ", ".join(str(bit.name).lower() for bit in Evidence)
            raise Misconfigured(f"grouping opening_evidence: got {name.strip()!r}, expected of {known}") from None
    return evidence


def opens_alone(rows: pa.RecordBatch, grouping: Grouping) -> npt.NDArray[np.bool_]:
    """(n,) whether what a sensor's baseline shows of a row is enough for an incident."""
    evidence = filled(rows, "evidence", 0)
    shown = shown_evidence(filled(rows, "phase", 0), evidence)
    opens = np.zeros(rows.num_rows, np.bool_)
    if not shown.any():
        return opens
    said = np.where(shown != 0, shown | (evidence & ~np.uint32(SHOWN)), np.uint32(0))
    for combination in grouping.opening_evidence:
        bits = np.uint32(evidence_of(combination))
        opens |= said & bits == bits
    port = np.where(answering(rows), integers(rows, "src_port", -1), integers(rows, "dst_port", -1))
    opens |= (shown & np.uint32(Evidence.NEW_SERVICE_USE) != 0) & np.isin(port, grouping.opening_ports)
    return opens


def weights_of(rows: pa.RecordBatch, grouping: Grouping) -> npt.NDArray[np.float64]:
    """Each row's share of what opens an incident: 1 / open_count of its class; 1 where it is strong by itself."""
    classes = rows.column("class").dictionary_encode()
    shares = [1.0 / grouping.open_count_of.get(name, grouping.open_count) for name in classes.dictionary.to_pylist()]
    weights: npt.NDArray[np.float64] = np.asarray(shares, np.float64)[classes.indices.to_numpy(zero_copy_only=False)]
    if grouping.strong_p_value > 0:
        weights[rows.column("p_value").to_numpy() <= grouping.strong_p_value] = 1.0
    weights[opens_alone(rows, grouping)] = 1.0
    return weights


class Tokens(NamedTuple):
    """What links n rows of one sensor to others, by number. of_row: (n, T), NONE where nothing is. of_known: those that
    groups held before. texts: by number, None for nothing.
    """

    of_row: Ints
    of_known: Ints
    texts: list[str | None]


def numbered_tokens(known: Sequence[Sequence[str]], columns: Sequence[pa.Array], bounds: Ints) -> list[Tokens]:
    """The tokens of each sensor, numbered as they appear among what its groups held and then in each of the columns.

    bounds: (sensors + 1,) where the rows of each sensor begin.
    """
    held, rows = [len(tokens) for tokens in known], np.diff(bounds)
    encoded = pa.concat_arrays([pa.array([token for tokens in known for token in tokens], pa.string()), *columns])
    encoded = encoded.dictionary_encode(null_encoding="encode")
    codes, texts = encoded.indices.to_numpy().astype(np.int64), encoded.dictionary.to_pylist()
    if len(known) == 1:  # a flood's are many, and numbered as they appear already
        return [_tokens(codes, texts, held[0], len(columns))]
    sensors = range(len(known))
    sensor = np.concatenate([np.repeat(sensors, held), *[np.repeat(sensors, rows)] * len(columns)])
    order = np.argsort(sensor, kind="stable")
    codes = codes[order]
    found, tokens, start = within(Coded(sensor[order], sensors), [Coded(codes, texts)]), list[Tokens](), 0
    for number, (before, count) in enumerate(zip(held, rows.tolist(), strict=True)):
        values, stop = found.of(number), start + before + count * len(columns)
        named = [texts[code] for code in codes[found.first[values]].tolist()]
        tokens.append(_tokens(found.number[start:stop] - values.start, named, before, len(columns)))
        start = stop
    return tokens


def _tokens(codes: Ints, texts: list[str | None], held: int, columns: int) -> Tokens:
    """The tokens of one sensor, by the codes of what its groups held and then of each column's rows."""
    if None in texts:
        codes = np.where(codes == texts.index(None), NONE, codes)
    return Tokens(np.ascontiguousarray(codes[held:].reshape(columns, -1).T), codes[:held], texts)


def group_sensors(
    rows: pa.RecordBatch, clock_us: Ints, bounds: Ints, known: Sequence[Sequence[Group]], grouping: Grouping
) -> list[tuple[Linked, list[list[str]]]]:
    """Assign each suspect of several sensors to a group of its sensor, and of each which tokens its groups hold then.

    rows: those of a sensor one behind the other in clock order, from each of `bounds` (sensors + 1,) to the next.
    known: a sensor's groups from earlier batches, in the order they were last touched.
    """
    held = [[token for each in of_sensor for token in each.tokens] for of_sensor in known]
    tokens = numbered_tokens(held, tokens_of(rows, grouping), bounds)
    weights, starts = weights_of(rows, grouping), bounds.tolist()
    return [
        _group(of_sensor, tokens[number], clock_us[first:last], weights[first:last], grouping)
        for number, (of_sensor, (first, last)) in enumerate(zip(known, pairwise(starts), strict=True))
    ]


def _group(
    known: Sequence[Group], tokens: Tokens, clock_us: Ints, weights: npt.NDArray[np.float64], grouping: Grouping
) -> tuple[Linked, list[list[str]]]:
    holder = np.full(len(tokens.texts), NONE, np.int64)
    holder[tokens.of_known] = [number for number, each in enumerate(known) for _ in each.tokens]
    linked = link(
        clock_us,
        tokens.of_row,
        weights,
        holder,
        np.asarray([each.last_clock_us for each in known], np.int64),
        np.asarray([each.evidence for each in known], np.float64),
        np.asarray([each.is_open for each in known], np.bool_),
        next((number for number, each in enumerate(known) if each.is_crowd), NONE),
        grouping.gap_us,
        grouping.max_open,
        grouping.max_waiting,
        grouping.max_tokens,
    )
    held: list[list[str]] = [[] for _ in linked.into]
    for number, token in zip(holder.tolist(), tokens.texts, strict=True):
        if number >= 0 and token is not None:
            held[number].append(token)
    return linked, held
