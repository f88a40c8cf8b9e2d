"""Report of `cost`: what a model costs to train, to store and to query."""

from typing import Any

from models.lab.report.bars import Panel, panels
from models.lab.report.documents import Document, Fits, number
from models.lab.report.labels import footer, labels, row_of
from models.lab.report.pictures import counted, slug
from models.lab.report.sheets import Picture, Section, Sheet, name_of

WANTED = 330_000.0  # rows a second at a batch of 4,096: the goal
BATCH = "4096"


def sections(fits: Fits) -> list[Section]:
    """A table of everything, and a picture of speed by device."""
    devices = tuple(dict.fromkeys(device for each in fits.documents for device in each["rows_per_second"]))
    by_model = {model: fits.where(model=model).documents[-1] for model in fits.models}
    order = sorted(by_model, key=lambda model: -(number(by_model[model], ("rows_per_second", devices[0], BATCH)) or 0))
    batches = sorted({int(size) for each in by_model.values() for size in _sizes(each, devices)})
    columns = ["Model", "parameters", "training, s", "stored, kB"]
    columns += [f"rows/s, {device}, batch {size:,}" for device in devices for size in batches]

    def row(model: str) -> list[Any]:
        costs = by_model[model]
        nbytes, seconds = number(costs, ("stored_bytes",)), number(costs, ("train_seconds",))
        speeds = [number(costs, ("rows_per_second", device, str(size))) for device in devices for size in batches]
        return [
            name_of(fits, model),
            costs["parameters"],
            None if seconds is None else round(seconds, 2),
            None if nbytes is None else round(nbytes / 1000, 1),
            *(None if speed is None else float(f"{speed:.3g}") for speed in speeds),
        ]

    sheet = Sheet("Cost of a model", tuple(columns), [row(model) for model in order])
    text = (
        "Default settings, fitted once to all of KDDTrain+ (binary) on one core. Rows a second are from the prepared "
        "matrix to score and class; the best of several rounds. Parameters are numbers learnt; a dash where that has "
        "no meaning.",
    )
    return [Section("Cost", text, [sheet], [_picture(fits, by_model, order, device) for device in devices])]


def _sizes(document: Document, devices: tuple[str, ...]) -> list[str]:
    return [size for device in devices for size in document["rows_per_second"].get(device, {}) if size.isdigit()]


def _picture(fits: Fits, by_model: dict[str, Document], order: list[str], device: str) -> Picture:
    def draw() -> Any:
        sizes = sorted({int(size) for each in by_model.values() for size in _sizes(each, (device,))})
        columns = []
        for size in sizes:
            speeds = [number(by_model[model], ("rows_per_second", device, str(size))) for model in order]
            texts = ["–" if speed is None else counted(speed) for speed in speeds]
            line = WANTED if str(size) == BATCH else None
            columns.append(Panel(f"batch {size:,}", speeds, scale="log", line=line, written=texts))
        title = f"Rows a second by batch size, {device} (logarithmic; dashed: the goal, {counted(WANTED)})"
        return panels(title, labels(fits, order), row_of(order), columns, footer(fits))

    return Picture(f"rows-per-second-{slug(device)}", f"Rows a second by batch size, {device}", draw)
