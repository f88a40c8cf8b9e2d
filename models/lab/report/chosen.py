"""What detectors chose by themselves on training records, before they were fitted."""

from models.lab.report.documents import Document, Fits, number, reach, spread
from models.lab.report.sheets import Section, Sheet

MANY = 20  # splits: more are shown as one


def sections(fits: Fits) -> list[Section]:
    """One, where a fit has something chosen: its numbers' mean and deviation, a row a split and task."""
    settled = [document for document in fits.documents if reach(document, ("settled",))]
    keys = tuple(dict.fromkeys(key for document in settled for key in document["settled"]))
    splits = {str(document["split"]) for document in settled}
    groups: dict[tuple[str, str, str], list[Document]] = {}
    for document in settled:
        split = str(document["split"]) if len(splits) <= MANY else "all"
        groups.setdefault((document["model"], split, document["task"]), []).append(document)
    rows = []
    for (model, split, task), part in groups.items():
        columns = [[number(each["settled"], (key,)) for each in part] for key in keys]
        cells = [spread([value for value in values if value is not None]) for values in columns]
        rows.append([fits.title(model), split, task, *cells, f"{len(part)}"])
    if not rows:
        return []
    text = (
        "Settings that a detector finds on training records alone, before its fit: for IGAN-IDS each view's weight, "
        "and what the weights reached there on known attacks and on families left out (mean of AUROC and of recall at "
        "5 % and 1 % false positives)."
    )
    sheet = Sheet("Chosen", ("Model", "split", "task", *keys, "fits"), rows)
    return [Section("Chosen on training records", (text,), [sheet])]
