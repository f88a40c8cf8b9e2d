"""Report of `table`: a labelled table that somebody brought, and of `iiot`'s tables one by one."""

from models.lab.report.documents import Fits
from models.lab.report.nsl_kdd_test import detection, naming_classes
from models.lab.report.sheets import Section, escaped


def sections(fits: Fits) -> list[Section]:
    """Binary, then whichever tasks with classes there are."""
    tasks = dict.fromkeys(document["task"] for document in fits.documents if document["task"] != "binary")
    notes = dict.fromkeys(escaped(note) for document in fits.documents for note in document.get("notes") or ())
    result = [Section("How the tables were read", tuple(notes), [])] if notes else []
    result += detection(fits, {})
    for task in tasks:
        result += naming_classes(fits, f"Classes ({task})", task, {})
    return result
