"""What came of comparing a candidate with the model in use: what the stage retrain has on record."""

from collections.abc import Mapping
from typing import Any

import orjson

from pipeline.errors import ForebayError
from pipeline.retrain.trainer import REPORT
from pipeline.runtime.storage.location import open_storage
from pipeline.settings import Settings

MAX_BYTES = 4_194_304
MAX_REASONS = 20
NONE_YET = "no candidate was trained on schedule yet, so none was compared with the model in use"
NO_SETTINGS = "the page shows alerts of a file: there is no registry to ask"


def last_comparison(settings: Settings | None) -> dict[str, Any]:
    """The last scheduled candidate against the model in use then; or `not_known`, and why.

    Both were judged on the same labelled samples, held out of the candidate's training: candidate, against (the model
    in use then), passed, attacks and normals (rows), of each recall, false_rate and auroc, reasons (against it).
    """
    if settings is None:
        return {"not_known": NO_SETTINGS}
    try:
        samples = open_storage(settings.samples_uri, "samples")
        if samples.size(REPORT) > MAX_BYTES:
            return {"not_known": f"{samples.url(REPORT)} is larger than what a training writes"}
        lines = samples.read(REPORT).splitlines()
        document = orjson.loads(lines[-1]) if lines else {}
    except (FileNotFoundError, NotADirectoryError):
        return {"not_known": NONE_YET}
    except (OSError, ForebayError, orjson.JSONDecodeError) as error:
        return {"not_known": f"{REPORT}: {error}"}
    return comparison_of(document)


def comparison_of(document: object) -> dict[str, Any]:
    """The same of what `forebay retrain now` has printed; a training that failed, or was interrupted, compares none."""
    if not isinstance(document, dict):
        return {"not_known": NONE_YET}
    comparison, candidate = document.get("comparison"), document.get("candidate")
    if not isinstance(comparison, dict) or not isinstance(candidate, str):
        current = document.get("current")
        nothing_new = "the last training found no labels that the model in use was not made from"
        return {"not_known": nothing_new if isinstance(current, str) else "the last training ended without a candidate"}
    against = comparison.get("against")
    return {
        "candidate": candidate,
        "against": str(document.get("current") or ""),
        "passed": comparison.get("passed") is True,
        "attacks": _number(comparison.get("attacks")),
        "normals": _number(comparison.get("normals")),
        "of_candidate": _figures(comparison.get("candidate")),
        "of_current": _figures(comparison.get("current")),
        "reasons": [str(each) for each in against[:MAX_REASONS]] if isinstance(against, list) else [],
    }


def _figures(found: object) -> dict[str, float | None]:
    figures: Mapping[str, object] = found if isinstance(found, dict) else {}
    return {name: _number(figures.get(name)) for name in ("recall", "false_rate", "auroc")}


def _number(value: object) -> float | int | None:
    """A number; None for what is none, as a share of no rows is."""
    return value if isinstance(value, int | float) and not isinstance(value, bool) and value == value else None
