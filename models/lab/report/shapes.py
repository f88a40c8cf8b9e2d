"""The shape of a stored fit, and where a document departs from it."""

from dataclasses import dataclass
from typing import Any

Shape = Any
"""A type, a tuple of types, a dict of shapes (absent keys are wrong), an Each, an Items, or a Maybe of one."""

NUMBER = (int, float, type(None))


@dataclass(frozen=True, slots=True)
class Each:
    """An object whose values all have one shape, whatever its keys."""

    value: Shape


@dataclass(frozen=True, slots=True)
class Items:
    """A list whose items all have one shape; `length` where it is fixed."""

    item: Shape
    length: int | None = None


@dataclass(frozen=True, slots=True)
class Maybe:
    """A shape, null, or nothing at all."""

    shape: Shape


SHARES = ("threshold", "acc", "sen", "spe", "pre", "jss", "fpr", "fnr", "f1", "mcc")
COUNTS = {name: NUMBER for name in SHARES} | {name: int for name in ("tp", "fp", "tn", "fn")}
RECALL = {"recall": NUMBER, "low": NUMBER, "high": NUMBER, "n": int}
CLASSES = {
    "acc": NUMBER,
    "macro_f1": NUMBER,
    "mcc": NUMBER,
    "recall": Each(RECALL),
    "f1": Each(NUMBER),
    "confusion": Items(Items(int)),
    "reliability": {"bins": Items(Items(NUMBER, 3)), "ece": NUMBER, "brier": NUMBER},
    "binary": COUNTS,
}
EVENT = {"event": str, "kind": str, "found": bool, "delay_s": NUMBER}
TEST = {
    "ranking": {"auroc": NUMBER, "auprc": NUMBER, "tpr_at": Each(NUMBER), "roc": Items(Items((int, float), 2))},
    "at": Each(COUNTS),
    "novel": Maybe(
        {
            "novel_rows": int,
            "seen_rows": int,
            "auroc_novel": NUMBER,
            "auroc_seen": NUMBER,
            "recall": Each({"seen": NUMBER, "novel": NUMBER}),
        }
    ),
    "classes": Maybe(CLASSES),
    "decision": Maybe(COUNTS),
    "more": Maybe({"events": Maybe(Items(EVENT)), "false_alarms_per_day": Maybe(NUMBER), "days": Maybe(NUMBER)}),
}
FIT = {
    "protocol": str,
    "model": str,
    "title": Maybe(str),
    "split": str,
    "seed": int,
    "task": str,
    "reduction": Maybe(str),
    "notes": Maybe(Items(str)),
    "settled": Maybe(Each((*NUMBER, str, dict))),  # whatever a detector chooses among
    "rows": Maybe({"train": int, "tests": Each(int)}),
    "tests": Each(TEST),
}
COST = {
    "protocol": str,
    "model": str,
    "title": Maybe(str),
    "reduction": Maybe(str),
    "parameters": NUMBER,
    "train_seconds": NUMBER,
    "stored_bytes": NUMBER,
    "rows_per_second": Each(Each(NUMBER)),
}


def mismatch(value: Any, shape: Shape, where: str = "") -> str | None:
    """The first location where a JSON value differs from a shape, in words; None where it matches."""
    if isinstance(shape, Maybe):
        return None if value is None else mismatch(value, shape.shape, where)
    if isinstance(shape, dict):
        if not isinstance(value, dict):
            return _said(where, value, "an object")
        for key, inner in shape.items():
            if key not in value and not isinstance(inner, Maybe):
                return _said(f"{where}.{key}", "nothing", "a value")
            wrong = mismatch(value.get(key), inner, f"{where}.{key}")
            if wrong:
                return wrong
        return None
    if isinstance(shape, Each):
        if not isinstance(value, dict):
            return _said(where, value, "an object")
        problems = (mismatch(each, shape.value, f"{where}.{key}") for key, each in value.items())
        return next((wrong for wrong in problems if wrong), None)
    if isinstance(shape, Items):
        if not isinstance(value, list) or (shape.length is not None and len(value) != shape.length):
            return _said(where, value, f"a list of {shape.length or 'any number'}")
        problems = (mismatch(each, shape.item, f"{where}[{index}]") for index, each in enumerate(value))
        return next((wrong for wrong in problems if wrong), None)
    kinds = shape if isinstance(shape, tuple) else (shape,)
    right = isinstance(value, kinds) and (not isinstance(value, bool) or bool in kinds)
    return None if right else _said(where, value, " or ".join(_name(kind) for kind in kinds))


def _name(kind: type) -> str:
    words = {str: "text", int: "a whole number", float: "a number", bool: "true or false", dict: "an object"}
    return words.get(kind, "null")


def _said(where: str, value: Any, expected: str) -> str:
    return f"{where.lstrip('.') or 'document'}: got {str(value)[:40]}, expected {expected}"
