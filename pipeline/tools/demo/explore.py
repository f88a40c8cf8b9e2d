"""What a demo that is left running offers next: its settings as a file, and commands to type."""

import shutil
import sys
from collections.abc import Iterable
from pathlib import Path

import yaml

from pipeline.runtime.files import write_atomic
from pipeline.runtime.terminal import printable
from pipeline.settings import Settings
from pipeline.tools.alerts.incidents import SHOWN_UID, Document

FILE = "forebay.yaml"
SHOWN_INCIDENTS = 3
MAX_TITLE = 70
QUERY = "select class, count(*) from flows where suspect group by 1"


def write_settings(folder: Path, settings: Settings) -> Path:
    """The run's settings as the file that FOREBAY_CONFIG is to name; what is secret is left out."""
    path = folder / FILE
    chosen = settings.model_dump(mode="json", include=settings.model_fields_set | {"bootstrap"}, exclude={"security"})
    write_atomic(path, yaml.safe_dump(chosen, sort_keys=True).encode(), durable=False)
    return path


def most_severe(incidents: Iterable[Document]) -> list[Document]:
    """The incidents most worth a look: gravest first, earlier ones before later ones."""
    return sorted(incidents, key=lambda each: (-each["severity_id"], each["first_us"]))[:SHOWN_INCIDENTS]


def next_commands(settings_file: Path, incidents: Iterable[Document]) -> list[str]:
    """Lines to type next where everything runs on, those about this run's incidents first, and how to end it."""
    forebay = command()
    return [
        f"export FOREBAY_CONFIG={settings_file}",
        *(f"{forebay} alert show {_uid(each)}    # {_title(each)}" for each in most_severe(incidents)),
        f"{forebay} alert list --review",
        f"{forebay} archive query '{QUERY}'",
        f"{forebay} status",
        f"{forebay} down    # ends it; what was stored stays",
    ]


def offline_commands(traffic_file: Path, site: str, sensor: str, incidents: Iterable[Document]) -> list[str]:
    """Lines to type next where everything has ended: the same incidents from a sensor's file alone, without Kafka."""
    score = f"{command()} flow score {traffic_file} --site {site} --sensor {sensor}"
    seen = [each for each in incidents if sensor in each["sensors"]]
    lines = [f"{score} --review"]
    for each in most_severe(seen)[:1]:
        uid = next(member["uid"] for member in each["members"] if member["sensor"] == sensor)
        lines.append(f"{score} --show {uid[:SHOWN_UID]}    # {_title(each)}")
    return [*lines, f"{command()} demo --keep    # the same, left running: alert list, alert show, alert tail"]


def command() -> str:
    """What to type for `forebay` here."""
    return "forebay" if shutil.which("forebay") else str(Path(sys.executable).with_name("forebay"))


def _uid(incident: Document) -> str:
    return str(incident["uid"])[:SHOWN_UID]


def _title(incident: Document) -> str:
    return printable(str(incident["says"]), MAX_TITLE)
