"""A report of stored fits: report.md, report.json and pictures, also of a run that is not finished."""

import textwrap
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from models.errors import RefusedModel
from models.lab.protocols.store import written
from models.lab.report import chosen
from models.lab.report.documents import Fits, read
from models.lab.report.pictures import save, style
from models.lab.report.results import results_of
from models.lab.report.sheets import Section, escaped, markdown, origin, plain

SECTIONS = {
    "nsl-kdd-cv": "nsl_kdd_cv",
    "nsl-kdd-test": "nsl_kdd_test",
    "unknowns": "unknowns",
    "iiot": "iiot",
    "table": "labelled_table",
    "controls": "controls",
    "cost": "cost",
}


MAX_COLUMNS = 120  # of a line of prose, as everywhere in docs/


def write(folder: Path, pictures: bool = True) -> dict[str, Any]:
    """Make the report of the fits in a folder, beside them.

    Without `pictures`, those made before stay as they are. Returns protocol, number of fits there are and were meant,
    and names of the files written. The same fits give the same bytes. RefusedModel where nothing is stored or a
    document is malformed; then nothing is written.
    """
    fits = read(folder)
    if fits.protocol not in SECTIONS:
        raise RefusedModel(f"{folder}: got fits of protocol {fits.protocol}, expected one of {', '.join(SECTIONS)}")
    of: Callable[[Fits], list[Section]] = import_module(f"models.lab.report.{SECTIONS[fits.protocol]}").sections
    sections = of(fits) + chosen.sections(fits)
    count, expected = fits.total()
    files = ["report.md", "report.json"]
    with style():
        for section in sections if pictures else []:
            for picture in section.pictures:
                files += save(picture.draw(), folder, picture.name)
    (folder / files[0]).write_text(_markdown(fits, sections), encoding="utf-8")
    written(
        folder / files[1],
        {
            "protocol": fits.protocol,
            "run": fits.run,
            "fits": {model: {"done": fits.count(model), "expected": fits.expected(model)} for model in fits.models},
            "reductions": {model: fits.reduction(model) for model in fits.models if fits.reduction(model)},
            "sections": [{"title": each.title, "tables": [plain(sheet) for sheet in each.sheets]} for each in sections],
            "results": results_of(fits.documents),
        },
    )
    return {"protocol": fits.protocol, "fits": count, "expected": expected, "files": files}


def _markdown(fits: Fits, sections: list[Section]) -> str:
    """The whole report in Markdown."""
    count, expected = fits.total()
    caption = f"{count} of {expected} fits"  # the head names command, machine and date once
    lines = [f"# Evaluation: {fits.protocol}", "", origin(fits), ""]
    for section in sections:
        lines += [f"## {escaped(section.title)}", ""]
        for words in section.text:
            lines += [words, ""]
        for sheet in section.sheets:
            lines.append(markdown(sheet, caption))
        for picture in section.pictures:
            shows, file = escaped(picture.shows), picture.name
            lines += [f"![{shows}]({file}.svg)", ""]
    return "\n".join(wrapped("\n".join(lines).rstrip().split("\n"))) + "\n"


def wrapped(lines: list[str]) -> Iterator[str]:
    """The lines of a Markdown text, prose cut to `MAX_COLUMNS`; table rows, headings and pictures stay whole."""
    for line in lines:
        if len(line) <= MAX_COLUMNS or line.startswith(("|", "#", "![")):
            yield line
            continue
        hard_break = "  " if line.endswith("  ") else ""  # Markdown's line break: two spaces at the end
        *first, last = textwrap.wrap(line, MAX_COLUMNS - 2, break_long_words=False, break_on_hyphens=False)
        yield from [*first, last + hard_break]
