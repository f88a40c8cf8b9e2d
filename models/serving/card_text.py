"""A model's card as Markdown. Names from the manifest are text there, whatever they hold."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from models.serving.model import POOLED

NAME = "CARD.md"
SMALL = (
    " It is a small model, for devices without much memory: its look-up table has eight bits a number and one scale a "
    "column."
)


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
                )
                + (SMALL if facts["table"] == "int8" else ""),
                "## How good it is",
                "All figures are from training time: stretches held out of it, and attack families or sensors left out "
                "of a trial network. Labels of faults are made by the clock, so figures about them are coarse.",
                _classes(facts["classes"]),
                _figures(facts["held_out"], facts["odds"]),
                "A class is named only where it is known; else a suspect is called unknown. Of the attacks and faults "
                "of each case, so many get their right name, and so many a wrong one:",
                _names(facts["names"]),
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
        f"{_teacher(again['teacher'])}, "
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


def _teacher(teacher: str) -> str:
    return "no teacher" if teacher == "none" else f"teacher {_text(teacher)}"


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
            "named where",
        ),
        [
            (
                _text(entry["name"]),
                entry["kind"],
                entry["rows_fit"],
                entry["rows_held_out"],
                _share(entry["f1_held_out"]),
                _text(entry["named_where"]),
            )
            for entry in classes
        ],
    )


def _figures(held_out: Mapping[str, Any], odds: Mapping[str, Any]) -> str:
    sentences = []
    if "macro_f1" in held_out:
        sentences.append(
            f"Macro-F1 on held-out time {_share(held_out['macro_f1'])}, expected calibration error of its class "
            f"probabilities {_share(held_out.get('expected_calibration_error'))}."
        )
    if odds["criterion"]:
        sentences.append(
            f"Odds: {_text(odds['chosen'])}; known attacks {_share(odds['known'])}, attacks of families left out "
            f"{_share(odds['unknown'])} ({_text(odds['criterion'])})."
        )
    return " ".join(sentences) or "The manifest holds no figures."


def _names(cases: Mapping[str, Mapping[str, float]]) -> str:
    return _table(
        ("case", "right name", "wrong name"),
        [(_case(case), _share(entry["right"]), _share(entry["wrong"])) for case, entry in cases.items()],
    )


def _case(case: str) -> str:
    """A case of `naming_cases` in words."""
    return "held-out time" if case == "known" else f"{_text(case)} left out"


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
