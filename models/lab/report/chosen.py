"""What detectors chose by themselves on training records, before they were fitted."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from models.lab.report.documents import Document, Fits, number, reach, spread
from models.lab.report.sheets import Section, Sheet

MANY = 20  # splits: more are shown as one
PARTS = ("merit", "criterion")  # of what was chosen among; the report of a fit has them, a table has no room


def sections(fits: Fits) -> list[Section]:
    """One, where a fit has something chosen: a row a split and task, numbers as mean and deviation, words counted."""
    settled = [document for document in fits.documents if reach(document, ("settled",))]
    keys = tuple(dict.fromkeys(key for document in settled for key in document["settled"] if key not in PARTS))
    splits = {str(document["split"]) for document in settled}
    groups: dict[tuple[str, str, str], list[Document]] = {}
    for document in settled:
        split = str(document["split"]) if len(splits) <= MANY else "all"
        groups.setdefault((document["model"], split, document["task"]), []).append(document)
    rows = []
    for (model, split, task), part in groups.items():
        rows.append([fits.title(model), split, task, *(_cell(part, key) for key in keys), f"{len(part)}"])
    if not rows:
        return []
    text = (
        "Settings that a detector finds on training records alone, before its fit: for IGAN-IDS the view and the odds' "
        "constants, what they reached there on known attacks and on families left out (mean of AUROC and of recall at "
        "5 % and 1 % false positives), and whether boosted trees were so far ahead that they became its teacher."
    )
    sheet = Sheet("Chosen", ("Model", "split", "task", *keys, "fits"), rows)
    return [Section("Chosen on training records", (text,), [sheet])]


def _cell(part: Sequence[Document], key: str) -> Any:
    """One column's cell: the spread of a number, or how often what was chosen."""
    choices = [reach(each["settled"], (key,)) for each in part]
    words = [_in_words(choice) for choice in choices if isinstance(choice, str | dict)]
    if words:
        return "; ".join(word if len(words) == 1 else f"{word} ({n})" for word, n in Counter(words).most_common())
    return spread([value for each in part if (value := number(each["settled"], (key,))) is not None])


def _in_words(choice: str | dict[str, Any]) -> str:
    return choice if isinstance(choice, str) else "yes" if choice.get("worth") else "no"
