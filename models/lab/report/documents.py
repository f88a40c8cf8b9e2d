"""The stored fits of one protocol, checked, and read by model, task, split and test."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from models.errors import RefusedModel
from models.lab.protocols.store import RUN, Store
from models.lab.report.shapes import COST, FIT, mismatch

OURS = "igan-ids"
Document = dict[str, Any]
Keys = Sequence[str]


@dataclass(frozen=True, slots=True)
class Spread:
    """Mean and standard deviation (n − 1) of a figure over n fits."""

    mean: float
    std: float | None
    n: int


@dataclass(frozen=True, slots=True)
class Fits:
    """The fits of one protocol with what made them.

    Attributes
    ----------
    run : command, date and machine; empty where the folder has no run.json
    documents : of one protocol, one a fit
    narrowed : whether these are only some of the run's splits
    """

    run: Document
    documents: tuple[Document, ...]
    narrowed: bool = False

    @property
    def protocol(self) -> str:
        """The protocol all fits are of."""
        return str(self.documents[0]["protocol"])

    @property
    def models(self) -> tuple[str, ...]:
        """Names of the models, ours first, the others as they come."""
        names = dict.fromkeys(document["model"] for document in self.documents)
        return tuple(sorted(names, key=lambda name: name != OURS))

    def title(self, model: str) -> str:
        """A model's name for people."""
        return next(str(each.get("title") or model) for each in self.documents if each["model"] == model)

    def reduction(self, model: str) -> str:
        """In what its fits are less than the full protocol; empty for nothing."""
        reductions = [each["reduction"] for each in self.documents if each["model"] == model and each["reduction"]][:1]
        for task in sorted({each["task"] for each in self.documents if each["model"] == model}):
            planned = {name: number(self.run.get("expected"), (name, task)) or 0 for name in self._planned()}
            fits_of_model, most = planned.get(model, 0), max(planned.values(), default=0)
            if 0 < fits_of_model < most:
                return "; ".join([*reductions, f"takes part in {fits_of_model:.0f} of {most:.0f} fits"])
        return "".join(reductions)

    def _planned(self) -> Document:
        planned = reach(self.run, ("expected",))
        return planned if isinstance(planned, dict) else {}

    def expected(self, model: str) -> int:
        """How many fits of a model there are to be, of the tasks it takes part in.

        As run.json says under expected.MODEL.TASK; where it does not, as many as any model has of that kind.
        """
        tasks = dict.fromkeys(each["task"] for each in self.documents if each["model"] == model)
        return sum(self._expected(model, task) for task in tasks)

    def _expected(self, model: str, task: str) -> int:
        counts = Counter((each["model"], _kind(each)) for each in self.documents if each["task"] == task)
        planned = None if self.narrowed else number(self.run.get("expected"), (model, task))
        if planned is not None:
            return max(int(planned), sum(count for (name, _), count in counts.items() if name == model))
        kinds = [kind for name, kind in counts if name == model]
        return sum(max(count for (_, other), count in counts.items() if other == kind) for kind in kinds)

    def total(self) -> tuple[int, int]:
        """How many fits there are, and how many there are to be, also of models that have none yet."""
        planned = self._planned()
        missing = [(name, task) for name in planned if name not in self.models for task in planned[name] or ()]
        unborn = sum(int(number(planned, keys) or 0) for keys in missing)
        return len(self.documents), sum(self.expected(model) for model in self.models) + unborn

    def count(self, model: str) -> int:
        """How many fits of a model are there."""
        return sum(document["model"] == model for document in self.documents)

    def where(self, **equal: Any) -> "Fits":
        """The fits whose fields have these values."""
        chosen = [each for each in self.documents if all(each.get(key) == value for key, value in equal.items())]
        return Fits(self.run, tuple(chosen), self.narrowed or set(equal) != {"task"})

    def tests(self) -> tuple[str, ...]:
        """Names of the test tables, in order of first appearance."""
        return tuple(dict.fromkeys(name for document in self.documents for name in document["tests"]))

    def figures(self, model: str, test: str) -> list[Document]:
        """All figures of a test, of every fit of a model that was judged on it."""
        return [each["tests"][test] for each in self.documents if each["model"] == model and test in each["tests"]]

    def values(self, model: str, test: str, *keys: str) -> list[float]:
        """A figure of every fit of a model that has it."""
        figures_of_fits = (number(figures, keys) for figures in self.figures(model, test))
        return [value for value in figures_of_fits if value is not None]

    def spread(self, model: str, test: str, *keys: str) -> Spread | None:
        """A figure's mean and deviation over a model's fits; None where none has it."""
        return spread(self.values(model, test, *keys))

    def by_merit(self, merit: Callable[[str], Spread | float | None]) -> tuple[str, ...]:
        """Models, the highest merit first; those without one last."""

        def key(model: str) -> tuple[bool, float, str]:
            figure = merit(model)
            value = figure.mean if isinstance(figure, Spread) else figure
            return (value is None, -(value or 0.0), model)

        return tuple(sorted(self.models, key=key))

    def pairs(self, model: str, other: str, test: str, *keys: str) -> list[float]:
        """Differences (model − other) of a figure over the fits both have: same split, seed and task."""
        mine, theirs = self._keyed(model, test, keys), self._keyed(other, test, keys)
        return [mine[key] - theirs[key] for key in mine if key in theirs]

    def _keyed(self, model: str, test: str, keys: Keys) -> dict[tuple[Any, ...], float]:
        figures = {}
        for document in self.documents:
            if document["model"] == model:
                value = number(document["tests"].get(test), keys)
                if value is not None:
                    figures[document["split"], document["seed"], document["task"]] = value
        return figures


def _kind(document: Document) -> str:
    """What a fit is to be counted with: in `controls`, ablations are not done for every control."""
    return str(document["split"]).partition("/")[0] if document["protocol"] == "controls" else ""


def spread(values: Iterable[float]) -> Spread | None:
    """Mean and deviation of values; None of none."""
    numbers = list(values)
    if not numbers:
        return None
    return Spread(float(np.mean(numbers)), float(np.std(numbers, ddof=1)) if len(numbers) > 1 else None, len(numbers))


def reach(tree: Any, keys: Keys) -> Any:
    """What lies under keys; None where one is missing."""
    for key in keys:
        if not isinstance(tree, dict) or key not in tree:
            return None
        tree = tree[key]
    return tree


def number(tree: Any, keys: Keys) -> float | None:
    """The number under keys; None where there is none."""
    value = reach(tree, keys)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def read(folder: Path) -> Fits:
    """All stored fits of a folder; RefusedModel where there are none, one is malformed, or protocols are mixed."""
    documents = Store(folder).read()
    if not documents:
        raise RefusedModel(
            f"{folder}: got no stored fits; make some with forebay model evaluate --protocol P --out {folder}"
        )
    return Fits(_run(folder / RUN), tuple(checked(documents, str(folder))))


def checked(documents: Sequence[Any], where: str) -> list[Document]:
    """The documents, if every one has the shape of a fit and all are of one protocol; RefusedModel names what is not.

    `where` begins the message.
    """
    for document in documents:
        name = f"{where}: fit"
        if isinstance(document, dict):
            name += " " + "/".join(str(document.get(key, "?")) for key in ("model", "split", "seed", "task"))
        cost = isinstance(document, dict) and document.get("protocol") == "cost"
        wrong = mismatch(document, COST if cost else FIT)
        if wrong:
            raise RefusedModel(f"{name}: {wrong}; delete it and run again with --resume")
    protocols = sorted({document["protocol"] for document in documents})
    if len(protocols) > 1:
        raise RefusedModel(
            f"{where}: got fits of {' and '.join(protocols)}, expected those of one protocol; keep each in a folder "
            "of its own"
        )
    return [{"reduction": "", "seed": 0, "task": "binary", "tests": {}} | document for document in documents]


def _run(path: Path) -> Document:
    """What made the fits; a report of fits without it says that it is not known."""
    if not path.is_file():
        return {}
    try:
        run = orjson.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise RefusedModel(f"{path}: got no JSON ({error}); delete it, or run again with --resume") from error
    if not isinstance(run, dict):
        raise RefusedModel(f"{path}: got {type(run).__name__}, expected an object; delete it, or run with --resume")
    return run
