"""What a flow's own fields must not contradict for a class to be named, from `preconditions.toml`.

A model says what a flow is like; the flow's fields may show that it cannot be that. Conditions are evaluated on columns
of a whole batch, and only for rows that are about to be named.
"""

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.contracts.group_addresses import GROUP_ADDRESS, GROUP_MAC
from pipeline.errors import Misconfigured
from schemas.fields import load

Mask = npt.NDArray[np.bool_]
Matrix = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

FILE = "preconditions.toml"
# The keys of each kind of condition: those it must have, and those it may have.
KINDS = {
    "in": ({"field", "in"}, set[str]()),
    "known": ({"field", "known"}, set[str]()),
    "group": ({"field", "group"}, set[str]()),
    "service": ({"service"}, set[str]()),
    "feature": ({"feature"}, {"times", "min", "max"}),
    "field": ({"field"}, {"min", "max"}),
    "all": ({"all"}, set[str]()),
}
# The sensor's own name of a service: letters, digits and what stands in names of protocols.
SERVICE_NAME = re.compile(r"[a-z0-9][a-z0-9_.+-]*")
MAX_PORT = 65_535


@dataclass(frozen=True, slots=True)
class Service:
    """A service by its ports and by the names that sensors give it (lower case)."""

    ports: tuple[int, ...]
    names: tuple[str, ...]

    @property
    def pattern(self) -> str:
        """Matches an app_proto in lower case that names the service, alone or in a list with commas."""
        return rf"(\A|,)({'|'.join(map(re.escape, self.names))})(,|\z)"


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition; which attributes are set depends on its kind (the keys of KINDS)."""

    kind: str
    field: str = ""
    values: tuple[Any, ...] = ()
    is_so: bool = True
    feature: str = ""
    times: str = ""
    low: float = -np.inf
    high: float = np.inf
    service: Service | None = None
    parts: "tuple[Condition, ...]" = ()


@dataclass(frozen=True, slots=True)
class Requirement:
    """Conditions of which one is enough; `needed`: the sensor must say enough to tell."""

    says: str
    any_of: tuple[Condition, ...]
    needed: bool


@dataclass(frozen=True, slots=True)
class Preconditions:
    """The requirements of every class that has some."""

    classes: Mapping[str, tuple[Requirement, ...]]

    def contradicted(
        self,
        name: str,
        rows: pa.RecordBatch | pa.Table,
        matrix: Matrix,
        features: Sequence[str],
        at: Ints | None = None,
    ) -> Mask:
        """(n,) whether the fields of each row rule the class out.

        Parameters
        ----------
        name : the class; one without requirements is ruled out nowhere
        rows : rows with the fields of a flow
        matrix : (rows, F) their features in their own units, with their names in `features`
        at : (n,) which of the rows, ascending; all by default
        """
        at = np.arange(rows.num_rows) if at is None else at
        ruled_out = np.zeros(len(at), np.bool_)
        view = _Rows(rows, matrix, {feature: column for column, feature in enumerate(features)}, at)
        for requirement in self.classes.get(name, ()):
            ruled_out |= _contradicts(requirement, view)
        return ruled_out


@dataclass(frozen=True, slots=True)
class _Rows:
    """Rows about to be named: fields, features, and which column each feature is."""

    fields: pa.RecordBatch | pa.Table
    matrix: Matrix
    column: Mapping[str, int]
    at: Ints

    def __len__(self) -> int:
        return len(self.at)

    def field(self, name: str) -> pa.Array:
        """(n,) a field's values. Only what a condition asks for is taken: most of the fields never are."""
        column = self.fields.column(name)
        column = column if len(self.at) == len(column) else column.take(pa.array(self.at))
        return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column

    def feature(self, name: str) -> npt.NDArray[np.float64] | None:
        """(n,) a feature's values, 0 or more; None where the feature set has none of that name."""
        if name not in self.column:
            return None
        values: npt.NDArray[np.float64] = np.fmax(self.matrix[self.at, self.column[name]].astype(np.float64), 0.0)
        return values


def _contradicts(requirement: Requirement, rows: _Rows) -> Mask:
    """(n,) whether no condition that can be told holds."""
    holds, said = np.zeros(len(rows), np.bool_), np.zeros(len(rows), np.bool_)
    for condition in requirement.any_of:
        fulfilled, known = _evaluate(condition, rows)
        holds |= fulfilled & known
        said |= known
    return ~holds & (said | requirement.needed)


def _evaluate(condition: Condition, rows: _Rows) -> tuple[Mask, Mask]:
    """(n,) whether the condition holds, and (n,) whether that can be told."""
    everywhere = np.ones(len(rows), np.bool_)
    if condition.kind == "all":
        holds, said = everywhere, everywhere
        for part in condition.parts:
            fulfilled, known = _evaluate(part, rows)
            holds, said = holds & fulfilled, said & known
        return holds, said
    if condition.kind == "feature":
        value = rows.feature(condition.feature)
        factor = rows.feature(condition.times) if condition.times else np.ones(len(rows))
        if value is None or factor is None:
            return ~everywhere, ~everywhere
        return _between(value * factor, condition), everywhere
    if condition.service is not None:
        return _of_service(condition.service, rows)
    column = rows.field(condition.field)
    said = _mask(pc.is_valid(column))
    if condition.kind == "known":
        return said == condition.is_so, everywhere
    if condition.kind == "group":
        return _is_group(column) == condition.is_so, said
    if condition.kind == "in":
        return _mask(pc.is_in(column, value_set=pa.array(condition.values, column.type))), said
    return _between(pc.fill_null(column.cast(pa.float64()), np.nan).to_numpy(zero_copy_only=False), condition), said


def _of_service(service: Service, rows: _Rows) -> tuple[Mask, Mask]:
    """(n,) whether a port or the sensor's name of the service is one of these, and whether one of them is known."""
    ports = pa.array(service.ports, pa.uint16())
    holds, said = np.zeros(len(rows), np.bool_), np.zeros(len(rows), np.bool_)
    for name in ("src_port", "dst_port"):
        column = rows.field(name)
        holds |= _mask(pc.is_in(column, value_set=ports)) & _mask(pc.is_valid(column))
        said |= _mask(pc.is_valid(column))
    named = rows.field("app_proto")
    if service.names:
        holds |= _mask(pc.match_substring_regex(pc.ascii_lower(named), service.pattern))
    return holds, said | _mask(pc.is_valid(named))


def _is_group(addresses: pa.Array) -> Mask:
    """(n,) which addresses are a group's."""
    return _mask(pc.match_substring_regex(addresses, GROUP_MAC)) | _mask(
        pc.match_substring_regex(addresses, GROUP_ADDRESS)
    )


def _between(values: npt.NDArray[np.float64], condition: Condition) -> Mask:
    """(n,) within both ends; a value that is no number is not."""
    within: Mask = (values >= condition.low) & (values <= condition.high)
    return within


def _mask(column: pa.Array) -> Mask:
    """A column of truths as an array; null is false."""
    mask: Mask = pc.fill_null(column, False).to_numpy(zero_copy_only=False).astype(np.bool_)
    return mask


def read_preconditions(text: str) -> Preconditions:
    """The preconditions in a TOML text; Misconfigured names what is wrong."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise Misconfigured(f"{FILE}: got no TOML ({error}); correct it") from error
    _expect_keys("", document, {"class"}, {"services"})
    services = {name: _service(f"services.{name}", entry) for name, entry in document.get("services", {}).items()}
    classes = {}
    for name, entry in _table("class", document["class"]).items():
        _expect_keys(f"class.{name}", entry, {"must"}, set())
        classes[name] = tuple(
            _requirement(f"class.{name}.must[{number}]", must, services)
            for number, must in enumerate(_list(f"class.{name}.must", entry["must"]))
        )
    return Preconditions(classes)


@cache
def shipped() -> Preconditions:
    """The preconditions shipped with Forebay."""
    return read_preconditions(files("pipeline.contracts").joinpath(FILE).read_text(encoding="utf-8"))


def _service(where: str, entry: object) -> Service:
    table = _expect_keys(where, entry, {"ports", "names"}, set())
    ports, names = _list(f"{where}.ports", table["ports"]), _list(f"{where}.names", table["names"])
    for port in ports:
        if type(port) is not int or not 0 <= port <= MAX_PORT:
            raise _wrong(f"{where}.ports", port, f"ports, 0 to {MAX_PORT}")
    for name in names:
        if not isinstance(name, str) or not SERVICE_NAME.fullmatch(name):
            raise _wrong(f"{where}.names", name, "names in lower case, as sensors have them in app_proto")
    if not ports and not names:
        raise _wrong(where, "neither ports nor names", "one or more")
    return Service(tuple(ports), tuple(names))


def _requirement(where: str, entry: object, services: Mapping[str, Service]) -> Requirement:
    table = _expect_keys(where, entry, {"says", "any"}, {"needed"})
    needed = table.get("needed", False)
    if type(needed) is not bool:
        raise _wrong(f"{where}.needed", needed, "true or false")
    conditions = _list(f"{where}.any", table["any"])
    if not conditions:
        raise _wrong(f"{where}.any", "an empty list", "one or more conditions; without `must` the class has none")
    return Requirement(
        str(table["says"]),
        tuple(_condition(f"{where}.any[{number}]", each, services) for number, each in enumerate(conditions)),
        needed,
    )


def _condition(where: str, entry: object, services: Mapping[str, Service]) -> Condition:
    table = _table(where, entry)
    kind = next((name for name in KINDS if name in table), None)
    if kind is None:
        raise _wrong(where, sorted(table), f"one of {', '.join(KINDS)}")
    _expect_keys(where, table, *KINDS[kind])
    if kind == "all":
        parts = _list(f"{where}.all", table["all"])
        if not parts:
            raise _wrong(f"{where}.all", "an empty list", "one or more conditions")
        return Condition(kind, parts=tuple(_condition(f"{where}.all", part, services) for part in parts))
    if kind == "service":
        if table["service"] not in services:
            raise _wrong(f"{where}.service", table["service"], f"one of {', '.join(services) or 'no services'}")
        return Condition(kind, service=services[table["service"]])
    low, high = _ends(where, table)
    if kind == "feature":
        feature, times = str(table["feature"]), str(table.get("times", ""))
        return Condition(kind, feature=feature, times=times, low=low, high=high)
    return _on_field(where, kind, table, low, high)


def _on_field(where: str, kind: str, table: Mapping[str, Any], low: float, high: float) -> Condition:
    """A condition on a field of a flow, checked against the schema."""
    known = {field.name: field.arrow.type for field in load("flow").fields}
    name = table["field"]
    if name not in known:
        raise _wrong(f"{where}.field", name, "a field of schemas/flow.toml")
    if kind in ("known", "group") and type(table[kind]) is not bool:
        raise _wrong(f"{where}.{kind}", table[kind], "true or false")
    if kind == "group" and not pa.types.is_string(known[name]):
        raise _wrong(f"{where}.field", name, "a field of addresses")
    if kind == "field" and (pa.types.is_string(known[name]) or pa.types.is_list(known[name])):
        raise _wrong(f"{where}.field", name, "a field of numbers, where `min` or `max` is given")
    if kind != "in":
        return Condition(kind, field=name, is_so=bool(table.get(kind, True)), low=low, high=high)
    values = _list(f"{where}.in", table["in"])
    try:
        pa.array(values, known[name])
    except (pa.ArrowException, TypeError, OverflowError) as error:
        raise _wrong(f"{where}.in", values, f"values of the field {name} ({known[name]})") from error
    return Condition(kind, field=name, values=tuple(values))


def _ends(where: str, table: Mapping[str, Any]) -> tuple[float, float]:
    """`min` and `max` of a condition; Misconfigured where one is needed and there is none."""
    kinds_without = {"in", "known", "group"} & set(table)
    if not kinds_without and not {"min", "max"} & set(table):
        raise _wrong(where, sorted(table), "`min`, `max` or both")
    for name in ("min", "max"):
        if name in table and (type(table[name]) not in (int, float) or np.isnan(table[name])):
            raise _wrong(f"{where}.{name}", table[name], "a number")
    low, high = float(table.get("min", -np.inf)), float(table.get("max", np.inf))
    if low > high:
        raise _wrong(where, f"{low:g} to {high:g}", "a `min` that is no more than `max`")
    return low, high


def _expect_keys(where: str, entry: object, must: set[str], may: set[str]) -> Mapping[str, Any]:
    table = _table(where, entry)
    if not must <= set(table) <= must | may:
        expected = ", ".join([*sorted(must), *(f"{name} (optional)" for name in sorted(may))])
        raise _wrong(where or "top level", sorted(table), f"the keys {expected}")
    return table


def _table(where: str, entry: object) -> Mapping[str, Any]:
    if not isinstance(entry, Mapping):
        raise _wrong(where, entry, "a table")
    return entry


def _list(where: str, entry: object) -> list[Any]:
    if not isinstance(entry, list):
        raise _wrong(where, entry, "a list")
    return entry


def _wrong(where: str, got: object, expected: str) -> Misconfigured:
    return Misconfigured(f"{FILE} {where}: got {str(got)[:80]!r}, expected {expected}; compare with the shipped file")
