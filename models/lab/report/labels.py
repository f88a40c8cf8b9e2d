"""How models are called in pictures, and what stands under every picture."""

from collections.abc import Sequence

from models.lab.report.documents import OURS, Fits


def labels(fits: Fits, order: Sequence[str]) -> list[str]:
    """Names for people; † where a model's fits are reduced."""
    return [fits.title(model) + (" †" if fits.reduction(model) else "") for model in order]


def label(fits: Fits, model: str) -> str:
    """One model's name for people."""
    return labels(fits, (model,))[0]


def row_of(order: Sequence[str]) -> int | None:
    """The row of our model."""
    return list(order).index(OURS) if OURS in order else None


def footer(fits: Fits) -> str:
    """Fits, date, and what † means."""
    done, expected = len(fits.documents), sum(fits.expected(model) for model in fits.models)
    words = [f"{fits.protocol}: {done} of {expected} fits", str(fits.run.get("date") or "date not recorded")]
    if any(fits.reduction(model) for model in fits.models):
        words.append("† reduced, see the report's footnotes")
    return " · ".join(words)
