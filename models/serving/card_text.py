"""A model's card as Markdown. Names from the manifest are text there, whatever they hold."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from models.serving.model import POOLED

NAME = "CARD.md"


def markdown(facts: Mapping[str, Any]) -> str:
    """A card (models.card) as Markdown."""
    features = facts["features"]
    return (
        "\n\n".join(
            [
                f"# Model card: {facts['model']}",
                "Written by `forebay model card` from the manifest. The manifest and the weights are what counts: "
                "`forebay model verify` checks them, not this page.",
                "## What it is for",
                _list(facts["use"], ours=True),
                "## What it is not for",
                _list(facts["not_for"], ours=True),
                "## What it was made of",
                _data(facts["data"]),
                f"Features: {features['set']}, hash `{features['hash'][:12]}`; "
                + ", ".join(f"{count} of group {_text(group)}" for group, count in features["groups"].items())
                + f". Parameters: {facts['parameters']:,}. Weights: SHA-256 `{facts['weights_sha256'][:12]}`. "
                + (
                    f"Parent: {_text(facts['parent'])}."
                    if facts["parent"]
                    else "Parent: none, it was trained from nothing."
                ),
                "## How good it is",
                "All figures are from training time: stretches held out of it, and attack families or sensors left out "
                "of a trial network one at a time. Labels of faults are made by the clock, so they and figures about "
                "them are coarse.",
                _classes(facts["classes"]),
                _figures(facts["held_out"], facts["left_out"]),
                "## Calibration",
                "A flow is a suspect at or below the threshold, the share of quiet flows that may stray.",
                _calibration(facts["calibration"]),
                "## Known limits",
                _list(facts["limits"]),
                "## Made again",
                _again(facts),
            ]
        )
        + "\n"
    )


def _again(facts: Mapping[str, Any]) -> str:
    again = facts["reproduce"]
    lines = [
        f"Command: `{_code(again['command'])}`; seed {again['seed']}, augmentation {_text(again['augmentation'])}, "
        f"{again['threads']} thread on {_text(again['device'])}. The same bytes are promised for the same files, the "
        f"same CPU type ({_text(again['cpu'])}) and torch {_text(again['torch'])}."
    ]
    lines += [
        f"{_text(key)} was calibrated later with `forebay model calibrate` on {_text(entry['quiet'].get('name', ''))}, "
        f"SHA-256 `{_code(str(entry['quiet'].get('sha256', ''))[:12])}`."
        for key, entry in facts["calibration"].items()
        if entry["quiet"]
    ]
    return " ".join(lines)


def _list(lines: Iterable[str], ours: bool = False) -> str:
    """A line each; only our own may hold markup."""
    return "\n".join(f"- {line if ours else _text(line)}" for line in lines)


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def _data(entries: Sequence[Mapping[str, Any]]) -> str:
    rows = []
    for entry in entries:
        known = entry["data_set"]
        origin = "/".join(str(entry[name]) for name in ("site", "sensor") if entry.get(name))
        rows.append(
            (
                _text(entry.get("name", "")),
                _text(origin),
                f"`{_code(str(entry.get('sha256', ''))[:12])}`" if entry.get("sha256") else "",
                _before(entry.get("ends_before_us")),
                f"{known['title']}, <{known['source']}>: {known['licence']}"
                if known
                else "not known here; ask who trained it",
            )
        )
    return _table(("file or rows", "origin", "SHA-256", "flows that end before", "data set and licence"), rows)


def _before(end_us: object) -> str:
    """An epoch in microseconds as a date; empty where there was no end."""
    if not isinstance(end_us, int) or not 0 < end_us < 253_402_300_800_000_000:
        return ""
    return datetime.fromtimestamp(end_us / 1e6, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _classes(classes: Sequence[Mapping[str, Any]]) -> str:
    return _table(
        (
            "class",
            "kind",
            "rows learnt from",
            "rows held out",
            "F1, held out",
            "recall as known",
            "recall, family left out",
            "AUROC, family left out",
        ),
        [
            (
                _text(entry["name"]),
                entry["kind"],
                entry["rows_fit"],
                entry["rows_held_out"],
                *(_share(entry[key]) for key in ("f1_held_out", "recall_known", "recall_left_out", "auroc_left_out")),
            )
            for entry in classes
        ],
    )


def _figures(held_out: Mapping[str, Any], left_out: Mapping[str, Any]) -> str:
    sentences = []
    if held_out:
        sentences.append(
            f"Macro-F1 on held-out time {_share(held_out.get('macro_f1'))}, expected calibration error of its class "
            f"probabilities {_share(held_out.get('expected_calibration_error'))}."
        )
    if left_out["criterion"]:
        sentences.append(
            f"Recall here is {_text(left_out['criterion'])}; a benign class has the share that is left alone. "
            f"Weights of attack, head and distance: {_text(left_out['weights'])}."
        )
    for sensor, figures in left_out["sensors"].items():
        sentences.append(
            f"{_text(sensor)} left out: recall {_share(figures['recall'])}, AUROC {_share(figures['auroc'])}."
        )
    return " ".join(sentences) or "The manifest holds no figures."


def _calibration(entries: Mapping[str, Mapping[str, Any]]) -> str:
    return _table(
        ("origin", "quiet flows", "smallest p-value", "threshold", "quiet stretch"),
        [
            (
                "every other" if key == POOLED else _text(key),
                f"{entry['n']:,}",
                f"{entry['smallest_p_value']:.2g}",
                f"{entry['alert_level']:.2g}",
                _text(
                    (entry["quiet"] or {}).get("name", "") or ("held-out training time" if not entry["quiet"] else "")
                ),
            )
            for key, entry in entries.items()
        ],
    )


def _share(value: object) -> str:
    return f"{value:.3f}" if isinstance(value, int | float) else ""


def _code(value: object) -> str:
    """A value as what may stand between backticks, in a table too."""
    return "".join(character for character in str(value) if character.isalnum() or character in " ./_=-")[:200]


def _text(value: object) -> str:
    """A value as Markdown text of one line: no markup of its own, no control characters."""
    plain = "".join(character if character.isprintable() else "?" for character in str(value))
    return "".join(f"\\{character}" if character in "\\`*[]<>|" else character for character in plain[:1000])
