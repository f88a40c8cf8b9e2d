"""What a demo that is left running offers next: its settings as a file, and commands to type."""

import shutil
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from pipeline.runtime.files import write_atomic
from pipeline.runtime.terminal import printable
from pipeline.settings import Settings
from pipeline.tools.demo.watch import SeenAlert

FILE = "forebay.yaml"
SHOWN_ALERTS = 3
MAX_TITLE = 70
QUERY = "select class, count(*) from flows where suspect group by 1"


def write_settings(folder: Path, settings: Settings) -> Path:
    """The run's settings as the file that FOREBAY_CONFIG is to name; what is secret is left out."""
    path = folder / FILE
    chosen = settings.model_dump(mode="json", include=settings.model_fields_set | {"bootstrap"}, exclude={"security"})
    write_atomic(path, yaml.safe_dump(chosen, sort_keys=True).encode(), durable=False)
    return path


def most_severe(alerts: Iterable[SeenAlert]) -> list[dict[str, Any]]:
    """The alerts most worth a look: gravest first, earlier ones before later ones."""
    documents = [alert.document for alert in alerts]
    return sorted(documents, key=lambda alert: (-alert.get("severity_id", 0), alert["start_time"]))[:SHOWN_ALERTS]


def next_commands(settings_file: Path, alerts: Iterable[SeenAlert]) -> list[str]:
    """Lines to type next, those about this run's own alerts first, and how to end it."""
    forebay = "forebay" if shutil.which("forebay") else str(Path(sys.executable).with_name("forebay"))
    lines = [f"export FOREBAY_CONFIG={settings_file}"]
    for alert in most_severe(alerts):
        uid = alert["finding_info"]["uid"][:12]
        lines.append(f"{forebay} alert show {uid}    # {printable(alert['message'], MAX_TITLE)}")
    return [
        *lines,
        f"{forebay} alert tail --from-start --no-follow",
        f"{forebay} archive query '{QUERY}'",
        f"{forebay} status",
        f"{forebay} down    # ends it; what was stored stays",
    ]
