"""Report of `nsl-kdd-test`: KDDTrain+ → KDDTest+ and KDDTest-21, binary and five classes."""

from models.lab.report import alarms, naming
from models.lab.report.documents import Fits
from models.lab.report.sheets import Section

ABOUT = {
    "KDDTest+": "All records of the test table. A good part of its attacks have names that training does not have.",
    "KDDTest-21": "KDDTest+ without the records that all 21 learners of the set's authors solved: the hard part of the "
    "same test, not another one.",
}


def sections(fits: Fits) -> list[Section]:
    """Binary and five classes, a section a test table."""
    return [*detection(fits, ABOUT), *naming_classes(fits, "Five classes", "5-class", ABOUT)]


def detection(fits: Fits, about: dict[str, str]) -> list[Section]:
    """Attack against normal, a section a test table."""
    part, result = fits.where(task="binary"), []
    for test in part.tests():
        thresholds = [alarms.threshold(part, test, nominal) for nominal in ("0.01", "0.05")]
        maybe = [*thresholds, alarms.decision(part, test), alarms.novel(part, test)]
        sheets = [alarms.ranking(part, test), *(each for each in maybe if each is not None)]
        text = tuple(each for each in (about.get(test),) if each)
        sheets += alarms.paired(part, test, alarms.PAIRED)
        result.append(Section(f"Attack or normal: {test}", text, sheets, [alarms.roc_picture(part, test)]))
    return result


def naming_classes(fits: Fits, title: str, task: str, about: dict[str, str]) -> list[Section]:
    """The multi-class task, a section a test table."""
    part, result = fits.where(task=task), []
    for test in part.tests():
        if not naming.macro_order(part, test):
            continue
        sheets = [naming.overall(part, test), naming.recalls(part, test)]
        sheets += alarms.paired(part, test, {"macro-F1": ("classes", "macro_f1")})
        text = tuple(each for each in (about.get(test),) if each)
        result.append(Section(f"{title}: {test}", text, sheets, naming.pictures(part, test)))
    return result
