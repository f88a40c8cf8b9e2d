"""A model's card: in plain words what it is for, what it was made of, how good it is and where it ends.

Everything but the general advice comes from the manifest, so the same model always has the same card.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from models.errors import RefusedModel
from models.igan.config import SMALL
from models.serving.model import POOLED, Model


@dataclass(frozen=True, slots=True)
class DataSet:
    """A published data set a model may have been trained on."""

    title: str
    source: str
    licence: str


_WESTERMO = DataSet(
    "The Westermo network traffic data set, version 1.0 (Strandberg and others, 2023)",
    "https://github.com/westermo/network-traffic-dataset",
    "CC BY 4.0",
)
LEARNT = ("lookup.", "middle.", "top.", "last.")  # tensors of the network itself
# By the SHA-256 of the file.
KNOWN_DATA = {
    "48a7eca3e000dc1bbf3fc709d28c1e4ea66780d34044a2b78d5aefe3cde2eb77": _WESTERMO,
    "d3875ced594f5d5cf4f6c0a97211ad4913fdd5c065738f2ef253c9d107deba4d": _WESTERMO,
}

USE = (
    "Finding unusual traffic in the network of a plant, from flow records: who spoke with whom, when and how much. "
    "It was made for sites whose own quiet traffic it has been calibrated on.",
    "Sorting what people look at first: it gives every flow a score, a p-value against quiet traffic, a likely class.",
)
NOT_FOR = (
    "Acting on its own. What it says is a hint to a person, never an actuator: connect no block, trip, shutdown or "
    "quarantine to it. In a plant a connection cut wrongly can harm people and machines more than the attack would.",
    "Safety functions, or proof that nothing happens: an attack that looks like ordinary traffic passes.",
    "Judging people. An origin names a sensor and flows name devices, not who sat there.",
    "A site it was not calibrated on: run `forebay model calibrate` on a quiet stretch of it first.",
)
LIMITS = (
    "A p-value is only as good as the quiet stretch behind it: none is smaller than 1 / (flows + 1), and it drifts "
    "where the plant changes. Calibrate again after work on the network.",
    "Attacks that happened in a stretch taken for quiet are part of what it takes for usual.",
    "It reads flow records, not contents: commands that are harmful but usual in size and rhythm leave no trace.",
    "The classes are those it was trained on. A suspect that is not known to be one of them is called unknown: what is "
    "new has no name, and its score has to do.",
    "Classes with few training rows are named less reliably; see the counts beside each figure.",
    "Who can write to the registry can put a model there: files are checked against their digests, not signed.",
)


def card(model: Model) -> dict[str, Any]:
    """The card as plain JSON values; RefusedModel where the manifest's figures are none."""
    try:
        return _card(model)
    except (AttributeError, TypeError, KeyError, ValueError) as error:
        raise RefusedModel(
            f"model {model.id}: the manifest's metrics, data or training have another shape than ours ({error}); "
            "make the model with this release"
        ) from error


def _card(model: Model) -> dict[str, Any]:
    document = model.document
    metrics: Mapping[str, Any] = document["metrics"]
    rows, held_out = metrics.get("rows", {}), metrics.get("held_out", {})
    odds, names = metrics.get("odds", {}), metrics.get("names", {})
    groups: dict[str, int] = {}
    for feature in document["features"]:
        groups[feature["group"]] = groups.get(feature["group"], 0) + 1
    return {
        "model": model.id,
        "parent": document["parent"],
        "weights_sha256": document["weights_sha256"],
        "parameters": parameters(model),
        "table": model.config.table,
        "use": list(USE),
        "not_for": list(NOT_FOR),
        "data": [{**entry, "data_set": _data_set(entry)} for entry in document["data"]],
        "features": {"set": document["feature_set"], "hash": document["feature_hash"], "groups": groups},
        "classes": [
            {
                "name": name,
                "kind": _kind(model, number),
                "rows_fit": rows.get("fit", {}).get(name, 0),
                "rows_held_out": rows.get("held_out", {}).get(name, 0),
                "f1_held_out": held_out.get("f1", {}).get(name),
                "named_where": _where(document["known"][name], number < model.config.benign),
            }
            for number, name in enumerate(model.classes)
        ],
        "held_out": {
            **{key: held_out[key] for key in ("macro_f1", "expected_calibration_error") if key in held_out},
            "temperature": document["temperature"],
        },
        "odds": {key: odds.get(key) for key in ("criterion", "chosen", "known", "unknown")},
        "names": {
            case: {key: float(entry[key]) for key in ("right", "wrong")} for case, entry in sorted(names.items())
        },
        "calibration": {
            key: {
                **{name: entry[name] for name in ("n", "smallest_p_value", "alert_level")},
                "quiet": entry.get("quiet"),
            }
            for key, entry in document["calibration"].items()
        },
        "limits": [*LIMITS, *_own_limits(model)],
        "reproduce": {
            "command": _command(model),
            "seed": model.config.seed,
            "threads": model.config.threads,
            "augmentation": model.config.augmentation,
            "teacher": model.config.teacher,
            "cpu": document["training"].get("cpu", ""),
            "device": document["training"].get("device", "cpu"),
            "torch": document["training"].get("torch", ""),
        },
    }


def _where(entry: Mapping[str, Any], benign: bool) -> str:
    """Where a class is known, in words."""
    if benign:
        return ""
    if not entry["prototypes"]:
        return "nowhere: too few rows, or too many wrong names"
    return f"nearer than {entry['radius']:.2g}, probability {entry['probability']:.2g} or more"


def parameters(model: Model) -> int:
    """How many numbers the network has learnt; distances, prototypes and knots come besides."""
    return sum(int(value.size) for name, value in model.weights.items() if name.startswith(LEARNT))


def _kind(model: Model, number: int) -> str:
    if number < model.config.benign:
        return "benign"
    return "fault" if model.classes[number] in model.config.coarse else "attack"


def _data_set(entry: Mapping[str, Any]) -> dict[str, str] | None:
    known = KNOWN_DATA.get(str(entry.get("sha256")))
    return None if known is None else {"title": known.title, "source": known.source, "licence": known.licence}


def _own_limits(model: Model) -> list[str]:
    """Limits that show in the manifest."""
    limits = []
    calibration = model.document["calibration"]
    origins = [key for key in calibration if key != POOLED]
    small = [key for key in origins if calibration[key]["alert_level"] > model.document["alert_level"]]
    if small:
        limits.append(
            f"So few quiet flows are behind {', '.join(small)} that the threshold there is above the one asked for "
            f"({model.document['alert_level']:g}): more false suspects."
        )
    sites = {str(entry["site"]) for entry in model.document["data"] if "site" in entry}
    if len(sites) == 1:
        limits.append(
            f"The network was fitted to one site ({', '.join(sites)}); how it does elsewhere was not measured here."
        )
    return limits


def _command(model: Model) -> str:
    """The command that makes the network again."""
    training = model.document["training"]
    command = str(training.get("command", ""))
    if command != "forebay model train":
        return command
    device = training.get("device", "cpu")
    config = model.config
    small = " --small" if config == replace(config, **SMALL) else ""
    return (
        f"{command}{small} --seed {config.seed} --augmentation {config.augmentation} --teacher {config.teacher} "
        f"--device {device}"
    )
