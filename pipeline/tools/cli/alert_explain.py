"""`forebay alert explain`: what the model saw in an incident's flows."""

from typing import Any

from rich.markup import escape

from pipeline.errors import Failed
from pipeline.runtime.terminal import printable
from pipeline.tools.cli.alert_verdict import Uid
from pipeline.tools.cli.archive import Folder
from pipeline.tools.cli.output import Bootstrap, Json, Prefix, emit, say
from pipeline.tools.cli.settings_here import settings_here
from pipeline.tools.cli.table import table

BAR = 24
"""Columns of the longest bar."""


def explain(
    uid: Uid, archive: Folder = None, as_json: Json = False, bootstrap: Bootstrap = None, prefix: Prefix = None
) -> None:
    """Show what made the model find an incident's flows suspect: how much each group of features adds to the log-odds.

    The flows are read from the archive: of an incident that several sensors saw, those of the alert
    that UID names. They are compared with the nearest usual flow that the model knows.
    """
    from models.errors import RefusedModel
    from models.serving import registry
    from pipeline.contracts.incident_joining import joined
    from pipeline.runtime.kafka.clients import require_broker
    from pipeline.runtime.storage.location import folder_or_storage
    from pipeline.tools.alerts.contributions import explain as explained
    from pipeline.tools.alerts.contributions import member_features
    from pipeline.tools.alerts.incidents import named
    from pipeline.tools.alerts.reading import current_alerts

    settings = settings_here(bootstrap=bootstrap, topic_prefix=prefix, archive_uri=archive)
    require_broker(settings)
    incident = named(joined(current_alerts(settings)), uid)
    alert = next(each for each in incident.alerts if each["finding_info"]["uid"].startswith(uid))
    name = str(alert["unmapped"]["model"])
    try:
        shipped = registry.load()
        model = (
            shipped if shipped.id == name else registry.load(name, folder_or_storage(settings.registry_uri, "models"))
        )
    except RefusedModel as error:
        raise Failed(f"alert {uid}: {error}") from error
    document = explained(alert, model, member_features(settings.archive_uri, settings, alert))
    for part in _page(document):
        say(part, quiet=as_json)
    emit(document)


def _page(document: dict[str, Any]) -> list[Any]:
    """For people: a bar a group, and the features in it that add most."""
    largest = max(abs(group["log_odds"]) for group in document["groups"]) or 1.0
    rows = [
        [
            group["title"],
            f"{group['log_odds']:+.1f}",
            "█" * max(round(abs(group["log_odds"]) / largest * BAR), 1),
            "; ".join(f"{feature['label']} {feature['log_odds']:+.1f}" for feature in group["features"]),
        ]
        for group in document["groups"]
    ]
    far, whole = document["from_distance"], document["log_odds"] - document["usual_log_odds"]
    parts = [
        f"{document['uid'][:12]}: log-odds of an attack {document['log_odds']:+.1f} in the mean of {document['flows']} "
        f"flows; of usual flows {document['usual_log_odds']:+.1f}. Of the {whole:+.1f} between, {far:+.1f} are for "
        f"lying far from usual flows, {whole - far:+.1f} for likeness to attacks that the model was trained with.",
        table(["what was looked at", "adds", "", "above all"], rows),
        f"model {printable(document['model'])}",
    ]
    if not document["calibrated"]:
        parts.append(
            "The model is not calibrated for this sensor: what is a suspect there its own baseline says "
            "(`forebay alert show`), and what is usual here is another plant's."
        )
    return [escape(part) if isinstance(part, str) else part for part in parts]
